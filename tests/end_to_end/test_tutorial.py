"""Every command of the README and the tutorial, in their order, as a newcomer would give them."""

import json
import re
from pathlib import Path

import pytest
from pages import ROOT, blocks, run_shell

from g2is.demo.run import write_demo_sample
from g2is.demo.skills import SKILLS, TARGET_SKILL

# What sets up an environment, or runs these very tests: CI does both by itself.
NOT_HERE = re.compile(r"^(make (demo|test|check|bench|setup)|pip install|git clone|cd )\b")
DEMO = "g2is demo --out demo-run\n"


def commands(page: Path) -> list[str]:
    """The shell blocks of a page, without lines that set up the environment."""
    shell = [block.text for block in blocks(page) if block.language == "sh"]
    kept = ["".join(line for line in text.splitlines(keepends=True) if not NOT_HERE.match(line)) for text in shell]
    return [text for text in kept if text.strip()]


def outcomes(folder: Path) -> dict[str, dict[str, float]]:
    return {of["name"]: of for of in json.loads((folder / "demo-run/tuned/comparison.json").read_text())["outcomes"]}


@pytest.mark.timeout(400)
def test_the_tutorial_s_first_command(tmp_path: Path) -> None:
    assert commands(ROOT / "docs/tutorial.md")[0] == DEMO
    run_shell(DEMO, tmp_path)
    found = outcomes(tmp_path)
    assert found.keys() == {"untuned", "selection", "random", "full pool"}
    assert found["selection"]["loss"] < 0.5 * found["random"]["loss"] < found["untuned"]["loss"]
    assert found["selection"]["exact_match_fraction"] > found["random"]["exact_match_fraction"] + 0.2
    selected = [json.loads(line)["task"] for line in (tmp_path / "demo-run/run/selected.jsonl").open()]
    assert len(selected) == 120
    assert sum(task in SKILLS[TARGET_SKILL].parts for task in selected) > 60  # 18 of 120 random ones would be


@pytest.mark.timeout(400)
def test_every_other_command_of_the_tutorial(tmp_path: Path) -> None:
    write_demo_sample(tmp_path / "demo-run/sample")  # what the first command leaves for the others
    texts = commands(ROOT / "docs/tutorial.md")[1:]
    assert len(texts) >= 14
    for text in texts:
        run_shell(text, tmp_path)
    check_what_the_tutorial_says(tmp_path)


@pytest.mark.timeout(400)
def test_every_command_of_the_readme(tmp_path: Path) -> None:
    write_demo_sample(tmp_path / "demo-run/sample")
    texts = commands(ROOT / "README.md")
    assert texts
    for text in texts:
        run_shell(text, tmp_path)


def check_what_the_tutorial_says(folder: Path) -> None:
    """Claims of the tutorial that files can confirm."""
    assert (folder / "runs/replayed/selected.jsonl").read_bytes() == (folder / "runs/first/selected.jsonl").read_bytes()
    assert "pool-00003" in (folder / "runs/limited/excluded.jsonl").read_text()
    assert len((folder / "runs/spoilt/bad_rows.jsonl").read_text().splitlines()) == 2
    assert (folder / "tuned/first/adapter/adapter_model.safetensors").exists()
    assert sum(1 for _ in (folder / "runs/random/selected.jsonl").open()) == 120
    found = {
        name: json.loads((folder / "tested" / name / "evaluation.json").read_text())["means"]
        for name in ("first", "random")
    }
    assert found["first"]["exact_match"] > 0.4 > 0.3 > found["random"]["exact_match"], found
    assert found["first"]["loss"] < 0.5 * found["random"]["loss"], found
    compared = (folder / "runs/compared/comparison.md").read_text()
    assert all(name in compared for name in ("design", "less", "untuned", "random", "full", "full-cut"))
    assert (folder / "runs/compared/report.html").exists()
