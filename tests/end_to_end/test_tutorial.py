"""Every command of the README and the tutorial, in their order, as a newcomer would give them."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pages import ROOT, blocks_in, run_shell

from common.browser import take_pictures
from g2is.demo.run import write_demo_sample
from g2is.demo.skills import SKILLS, TARGET_SKILL, write_pool

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


class Begun(NamedTuple):
    """Where the tutorial's first command was given, and what it printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder = tmp_path_factory.mktemp("tutorial")
    assert sections()[1] == [DEMO]
    return Begun(folder, run_shell(DEMO, folder).stdout)


@pytest.fixture(scope="module")
def selected(begun: Begun) -> Path:
    """The same folder, after all sections up to selections of all kinds."""
    return given(begun.folder, 2, 6, at_least=9)


@pytest.fixture(scope="module")
def tuned(selected: Path) -> Path:
    """The same folder, after all sections."""
    return given(selected, 7, 11, at_least=5)


@pytest.mark.long  # CI gives it with the wheel alone (test_wheel.py)
@pytest.mark.timeout(600)
def test_the_tutorial_s_first_command(begun: Begun) -> None:
    run = begun.folder / "demo-run/run"
    found = outcomes(begun.folder)
    assert found.keys() == {"untuned", "selection", "random", "full pool"}
    assert found["selection"]["loss"] < 0.5 * found["random"]["loss"] < found["untuned"]["loss"]
    assert found["selection"]["exact_match_fraction"] > found["random"]["exact_match_fraction"] + 0.2
    tasks = [json.loads(line)["task"] for line in (run / "selected.jsonl").open()]
    assert len(tasks) == 120
    assert sum(task in SKILLS[TARGET_SKILL].parts for task in tasks) > 60  # 18 of 120 random ones would be
    for line in (
        f"The selection: {run / 'selected.jsonl'}",
        f"Why each row was taken: {run / 'selection.parquet'}",
        f"To look at, in a browser: {run / 'report.html'}",
    ):
        assert f"{line}\n" in begun.printed
        assert Path(line.partition(": ")[2]).is_file()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_demo_s_report_in_a_browser(begun: Begun, open_page: Callable[..., Any], browser: Any) -> None:
    """Pictures of it go into the folder that G2IS_PICTURES names; CONTRIBUTING.md has the command."""
    report = begun.folder / "demo-run/run/report.html"
    page = open_page(report)
    assert page.locator("h1").inner_text() == "120 of 2,000 rows selected"
    assert page.locator("#overview .tile").first.inner_text() == "120\nrows selected of 2,000 (6.0%)"
    page.locator("canvas[data-map]").press("n")
    assert "selected as number 1" in page.locator("#map .panel").inner_text()
    assert page.locator("#rows .pager").inner_text().endswith("1–20 of 120")
    if folder := os.environ.get("G2IS_PICTURES"):
        taken = take_pictures(browser, report, Path(folder), "report-demo")
        assert len(taken) == 8
        assert all(10_000 < path.stat().st_size < 300_000 for path in taken)


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
    write_pool(tmp_path / "demo-run/sample/pool.jsonl", num_rows=300)  # of 2,000: the commands are what is tried
    texts = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert texts
    for text in texts:
        run_shell(text, tmp_path)
