"""g2is and a trainer in one environment, as uv resolves it. Needs uv and a package index."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from beside import TRAINERS, beside

ROOT = Path(__file__).resolve().parents[2]
NO_INDEX = re.compile(r"error sending request|dns error|tcp connect|timed out|offline|os error 101", re.IGNORECASE)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_g2is_resolves_beside_a_trainer(trainer: str) -> None:
    if shutil.which("uv") is None:
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
