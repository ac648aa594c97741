"""Every command of the README and the tutorial, in their order, as a newcomer would give them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from g2is.demo.skills import SKILLS, TARGET_SKILL

ROOT = Path(__file__).resolve().parents[2]
# What sets up an environment, or runs these very tests: CI does both by itself.
NOT_HERE = re.compile(r"^(make (demo|test|check|bench|setup)|pip install|git clone|cd )\b")


def commands(page: Path) -> list[str]:
    """The shell blocks of a page, without lines that set up the environment."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    kept = ["".join(line for line in block.splitlines(keepends=True) if not NOT_HERE.match(line)) for block in blocks]
    return [block for block in kept if block.strip()]


@pytest.mark.timeout(800)
def test_every_command_of_tutorial_and_readme_works(tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    blocks = commands(ROOT / "docs/tutorial.md") + commands(ROOT / "README.md")
    assert len(blocks) >= 12
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, block
    check_what_the_tutorial_says(tmp_path)


def check_what_the_tutorial_says(folder: Path) -> None:
    """Claims of the tutorial that files can confirm."""
    compared = json.loads((folder / "demo-run/tuned/comparison.json").read_text())["outcomes"]
    outcomes = {outcome["name"]: outcome for outcome in compared}
    assert outcomes.keys() == {"untuned", "selection", "random", "full pool"}
    assert outcomes["selection"]["loss"] < 0.5 * outcomes["random"]["loss"] < outcomes["untuned"]["loss"]
    assert outcomes["selection"]["exact_match_fraction"] > outcomes["random"]["exact_match_fraction"] + 0.2
    selected = [json.loads(line)["task"] for line in (folder / "demo-run/run/selected.jsonl").open()]
    assert len(selected) == 120
    assert sum(task in SKILLS[TARGET_SKILL].parts for task in selected) > 60  # 18 of 120 random ones would be
    assert (folder / "runs/replayed/selected.jsonl").read_bytes() == (folder / "runs/first/selected.jsonl").read_bytes()
    assert "pool-00003" in (folder / "runs/limited/excluded.jsonl").read_text()
    assert len((folder / "runs/spoilt/bad_rows.jsonl").read_text().splitlines()) == 2
    assert (folder / "adapter/adapter/adapter_model.safetensors").exists()
