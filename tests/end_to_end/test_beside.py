"""g2is and a trainer in one environment: as uv resolves it, and at work where a trainer is installed."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import selected_ids

from beside import TRAINERS, beside, find_uv

ROOT = Path(__file__).resolve().parents[2]
NO_INDEX = re.compile(r"error sending request|dns error|tcp connect|timed out|offline|os error 101", re.IGNORECASE)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_g2is_resolves_beside_a_trainer(trainer: str) -> None:
    if find_uv() is None:
        pytest.skip("uv is not installed: pip install uv")
    found = beside(trainer)
    if found.returncode and "No solution found" not in found.stderr and NO_INDEX.search(found.stderr):
        pytest.skip(f"no package index answers: {found.stderr.strip().splitlines()[0]}")
    assert found.returncode == 0, found.stderr
    versions = dict(line.split(" ")[0].split("==") for line in found.stdout.splitlines() if "==" in line)
    name, version = TRAINERS[trainer].split("==")
    assert versions[name] == version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {re.split(r"[\[>=]", of)[0].lower() for of in project["dependencies"]}
    assert ours <= set(versions), f"not among what uv found: {ours - set(versions)}"


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("llamafactory") is None, reason="LLaMA-Factory is not installed")
def test_llama_factory_trains_on_a_selection_in_the_very_environment(
    g2is: Callable[..., tuple[int, str, str]], finished: Path, tmp_path: Path
) -> None:
    assert g2is("export", finished, "--for", "llama-factory", "--to", tmp_path / "to")[0] == 0
    done = subprocess.run(
        [Path(sys.executable).parent / "llamafactory-cli", "train", tmp_path / "to/train.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert f"Loaded tokenized dataset from {tmp_path / 'to/tokens'}" in said
    assert f"Num examples = {len(selected_ids(finished))}\n" in said
    assert (tmp_path / "to/tuned/adapter_model.safetensors").exists()
    assert json.loads((tmp_path / "to/tuned/train_results.json").read_text())["train_loss"] > 0
