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


def given(folder: Path, first: int, last: int, at_least: int) -> Path:
    """Give every command of the sections `first` to `last`, which are `at_least` so many blocks, in `folder`."""
    texts = [text for number in range(first, last + 1) for text in sections()[number]]
    assert len(texts) >= at_least
    for text in texts:
        run_shell(text, folder)
    return folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tutorial's first command was given."""
    folder = tmp_path_factory.mktemp("tutorial")
    assert sections()[1] == [DEMO]
    run_shell(DEMO, folder)
    return folder


@pytest.fixture(scope="module")
def selected(begun: Path) -> Path:
    """The same folder, after all sections up to selections of all kinds."""
    return given(begun, 2, 6, at_least=9)


@pytest.fixture(scope="module")
def tuned(selected: Path) -> Path:
    """The same folder, after all sections."""
    return given(selected, 7, 11, at_least=5)


@pytest.mark.timeout(600)
def test_the_tutorial_s_first_command(begun: Path) -> None:
    found = outcomes(begun)
    assert found.keys() == {"untuned", "selection", "random", "full pool"}
    assert found["selection"]["loss"] < 0.5 * found["random"]["loss"] < found["untuned"]["loss"]
    assert found["selection"]["exact_match_fraction"] > found["random"]["exact_match_fraction"] + 0.2
    tasks = [json.loads(line)["task"] for line in (begun / "demo-run/run/selected.jsonl").open()]
    assert len(tasks) == 120
    assert sum(task in SKILLS[TARGET_SKILL].parts for task in tasks) > 60  # 18 of 120 random ones would be


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_command_of_the_tutorial_up_to_selections_of_all_kinds(selected: Path) -> None:
    runs = selected / "runs"
    assert (runs / "replayed/selected.jsonl").read_bytes() == (runs / "first/selected.jsonl").read_bytes()
    by_the_demo = selected / "demo-run/run/selected.jsonl"
    assert (runs / "first/selected.jsonl").read_bytes() == by_the_demo.read_bytes(), "the page does what the demo did"
    assert "pool-00003" in (runs / "limited/excluded.jsonl").read_text()
    assert len((runs / "spoilt/bad_rows.jsonl").read_text().splitlines()) == 2


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_command_of_the_tutorial_from_training_on(tuned: Path) -> None:
    assert (tuned / "tuned/first/adapter/adapter_model.safetensors").exists()
    assert sum(1 for _ in (tuned / "runs/random/selected.jsonl").open()) == 120
    found = {
        name: json.loads((tuned / "tested" / name / "evaluation.json").read_text())["means"]
        for name in ("first", "random")
    }
    assert found["first"]["exact_match"] > 0.4 > 0.3 > found["random"]["exact_match"], found
    assert found["first"]["loss"] < 0.5 * found["random"]["loss"], found
    compared = (tuned / "runs/compared/comparison.md").read_text()
    assert all(f"| {name} |" in compared for name in ("design", "less", "untuned", "random", "full", "full-cut"))
    assert (tuned / "runs/compared/report.html").exists()


@pytest.mark.timeout(600)
def test_every_command_of_the_readme(tmp_path: Path) -> None:
    write_demo_sample(tmp_path / "demo-run/sample")
    texts = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert texts
    for text in texts:
        run_shell(text, tmp_path)
