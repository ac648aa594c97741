"""Every command of the README and the tutorial, in their order, as a newcomer would give them."""

import json
import re
from pathlib import Path

import pytest
from pages import ROOT, blocks_in, run_shell

from g2is.demo.run import write_demo_sample
from g2is.demo.skills import SKILLS, TARGET_SKILL

# What sets up an environment, or runs these very tests: CI does both by itself.
NOT_HERE = re.compile(r"^(make (demo|test|check|bench|setup)|pip install|git clone|cd )\b")
DEMO = "g2is demo --out demo-run\n"


def commands(text: str) -> list[str]:
    """The shell blocks of a page's text, without lines that set up the environment."""
    shell = [block.text for block in blocks_in(text) if block.language == "sh"]
    kept = ["".join(line for line in text.splitlines(keepends=True) if not NOT_HERE.match(line)) for text in shell]
    return [text for text in kept if text.strip()]


def sections() -> dict[int, list[str]]:
    """The commands of the tutorial by the number of their section."""
    parts = re.split(r"^## (\d+)\. .*$", (ROOT / "docs/tutorial.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert not commands(parts[0])
    return {int(number): commands(text) for number, text in zip(parts[1::2], parts[2::2], strict=True)}


def outcomes(folder: Path) -> dict[str, dict[str, float]]:
    return {of["name"]: of for of in json.loads((folder / "demo-run/tuned/comparison.json").read_text())["outcomes"]}


@pytest.mark.timeout(600)
def test_the_tutorial_s_first_command(tmp_path: Path) -> None:
    assert sections()[1] == [DEMO]
    run_shell(DEMO, tmp_path)
    found = outcomes(tmp_path)
    assert found.keys() == {"untuned", "selection", "random", "full pool"}
    assert found["selection"]["loss"] < 0.5 * found["random"]["loss"] < found["untuned"]["loss"]
    assert found["selection"]["exact_match_fraction"] > found["random"]["exact_match_fraction"] + 0.2
    selected = [json.loads(line)["task"] for line in (tmp_path / "demo-run/run/selected.jsonl").open()]
    assert len(selected) == 120
    assert sum(task in SKILLS[TARGET_SKILL].parts for task in selected) > 60  # 18 of 120 random ones would be


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With what the first command leaves for the others."""
    write_demo_sample(tmp_path / "demo-run/sample")
    return tmp_path


@pytest.mark.timeout(600)
def test_every_command_of_the_tutorial_up_to_selections_of_all_kinds(folder: Path) -> None:
    of = sections()
    assert sum(len(of[number]) for number in range(2, 7)) >= 9
    for text in (text for number in range(2, 7) for text in of[number]):
        run_shell(text, folder)
    assert (folder / "runs/replayed/selected.jsonl").read_bytes() == (folder / "runs/first/selected.jsonl").read_bytes()
    assert "pool-00003" in (folder / "runs/limited/excluded.jsonl").read_text()
    assert len((folder / "runs/spoilt/bad_rows.jsonl").read_text().splitlines()) == 2


@pytest.mark.timeout(600)
def test_every_command_of_the_tutorial_from_training_on(folder: Path) -> None:
    of = sections()
    (selects,) = (text for text in of[3] if "--out runs/first" in text and "--dry-run" not in text)
    assert sum(len(of[number]) for number in range(7, 12)) >= 5
    for text in (selects, *(text for number in range(7, 12) for text in of[number])):
        run_shell(text, folder)
    assert (folder / "tuned/first/adapter/adapter_model.safetensors").exists()
    assert sum(1 for _ in (folder / "runs/random/selected.jsonl").open()) == 120
    found = {
        name: json.loads((folder / "tested" / name / "evaluation.json").read_text())["means"]
        for name in ("first", "random")
    }
    assert found["first"]["exact_match"] > 0.4 > 0.3 > found["random"]["exact_match"], found
    assert found["first"]["loss"] < 0.5 * found["random"]["loss"], found
    compared = (folder / "runs/compared/comparison.md").read_text()
    assert all(f"| {name} |" in compared for name in ("design", "less", "untuned", "random", "full", "full-cut"))
    assert (folder / "runs/compared/report.html").exists()


@pytest.mark.timeout(600)
def test_every_command_of_the_readme(folder: Path) -> None:
    texts = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert texts
    for text in texts:
        run_shell(text, folder)
