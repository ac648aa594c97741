"""The page of a comparison in a browser: `g2is compare` writes it, and a stranger's text stays text."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import MODEL

from g2is.demo.skills import write_pool, write_target

Command = Callable[..., tuple[int, str, str]]
HOSTILE = "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison's folder; every row of its pool holds markup."""
    from g2is.api import compare

    folder = tmp_path_factory.mktemp("compared")
    write_pool(folder / "pool.jsonl", num_rows=80)
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["id"] = f"{HOSTILE}{number}"
        row["messages"][0]["content"] += HOSTILE
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_target(folder / "both.jsonl", num_rows=20)
    lines = (folder / "both.jsonl").read_text().splitlines(keepends=True)
    (folder / "target.jsonl").write_text("".join(lines[:8]))
    (folder / "test.jsonl").write_text("".join(lines[8:]))
    compare(
        pool=folder / "pool.jsonl",
        target=folder / "target.jsonl",
        test=folder / "test.jsonl",
        model=MODEL,
        out=folder / "out",
        budgets=["10%"],
        methods=["bm25", "rds+"],
        num_seeds=1,
        tuning={"lora": {"rank": 4}, "learning_rate": 2e-3, "epochs": 1},
        evaluation={"generate": False},
    )
    return folder / "out"


def test_it_shows_methods_side_by_side_and_what_one_alone_took(compared: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(compared / "report.html")
    assert "2 methods compared" in page.locator("h1").inner_text()
    methods = page.locator("#overview td[data-label='method']").all_inner_texts()
    assert sorted(methods) == ["bm25", "full", "full-cut", "random", "rds+", "untuned"]
    assert page.locator("#losses svg circle").count() == 6
    assert page.locator("#alike table.matrix tbody tr").count() >= 2
    assert page.locator("#tables table").count() >= 3
    assert "g2is run" in page.locator("#made pre").inner_text()
    rows = page.locator("#alone table[aria-label='rows that only one method took'] tbody tr")
    both = rows.count()
    assert both >= 2
    of_one = page.locator("#alone label", has_text="only in").first.locator("select")
    of_one.select_option("bm25")
    assert 0 < rows.count() < both
    rows.first.locator("button.plain").click()
    opened = page.locator("#alone .panel").inner_text()
    assert HOSTILE in opened
    assert "only bm25" in opened.lower()
    page.get_by_label("Search rows that only one method took").fill("no such words anywhere")
    assert rows.count() == 0
    assert page.evaluate("window.hurt") is None
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_telephone(scheme: str, compared: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(compared / "report.html", viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_command_writes_the_same_page_again(compared: Path, g2is: Command, tmp_path: Path) -> None:
    code, _, err = g2is("report", compared, "--out", tmp_path / "again.html")
    assert code == 0, err
    assert (tmp_path / "again.html").read_bytes() == (compared / "report.html").read_bytes()


def test_verify_checks_the_page_and_makes_it_anew(compared: Path, g2is: Command) -> None:
    page = compared / "report.html"
    written = page.read_bytes()
    page.write_bytes(written[:-1])
    code, out, _ = g2is("verify", compared)
    assert (code, "report.html" in out) == (2, True)
    assert g2is("verify", compared, "--repair")[0] == 0
    assert page.read_bytes() == written


def test_the_page_of_one_of_its_selections_shows_the_other_methods(
    compared: Path, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    from g2is.jobs.report_run import report_run

    methods = ["bm25", "full", "full-cut", "random", "rds+", "untuned"]
    chosen = compared / "selections/rds+/target/10pct/seed-0"
    page = open_page(report_run(chosen, tmp_path / "of_one.html"))
    beside = page.locator("#beside")
    assert "rds+ on target at 10%, seed 0" in beside.inner_text()
    assert sorted(beside.locator("td[data-label='method']").all_inner_texts()) == methods
    assert beside.locator("svg circle").count() == len(methods)
    told = beside.locator("svg title").all_text_contents()
    assert any(line.startswith("rds+: ") and "[" in line for line in told)


def test_a_damaged_comparison_leaves_a_note_on_the_page_of_its_selection(compared: Path, tmp_path: Path) -> None:
    from g2is.jobs.report_run import report_run

    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    cell = next((copy / "cells/rds+").rglob("*.json"))
    cell.write_text(cell.read_text()[:-2])
    page = report_run(copy / "selections/rds+/target/10pct/seed-0", tmp_path / "of_one.html").read_text()
    assert "What the comparison says that this selection belongs to is left out" in page
    assert '"beside":null' in page
