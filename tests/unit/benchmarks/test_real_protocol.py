"""The protocol of a chat model on a device, small: it goes on where it was ended, and has the figures of its cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.long
@pytest.mark.usefixtures("shared")
def test_figures_are_of_the_cells_and_a_second_command_makes_none_anew(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "benchmarks/gpu/real_protocol.py"), "--small"]
    places = ["--model", str(ROOT / "src/g2is/demo/model"), "--work", str(tmp_path)]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])
    environment = os.environ | {"PYTHONPATH": paths, "G2IS_BENCHMARK_RESULTS": str(tmp_path / "results")}

    def figures() -> dict[str, float]:
        subprocess.run([*program, *places], env=environment, check=True, capture_output=True, timeout=250)
        found = json.loads((tmp_path / "results/real_protocol-model-small.json").read_text())["figures"]
        return {figure["what"].partition(":")[0]: figure["value"] for figure in found}

    first = figures()
    assert set(first) == {"untuned", "random", "full", "full-cut", "less"}
    assert first["random"] == 1
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "compared/cells").rglob("*.json")}
    assert figures() == first
    assert cells == {path: path.stat().st_mtime_ns for path in (tmp_path / "compared/cells").rglob("*.json")}
    assert cells
