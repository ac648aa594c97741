"""The page of a comparison in a browser: `g2is compare` writes it, of several targets and seeds."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import MODEL

from g2is.demo.skills import write_pool, write_target

Command = Callable[..., tuple[int, str, str]]
METHODS, TARGETS = ("bm25", "less"), ("first", "second")
HOSTILE = "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison for two targets, of two seeds; every row of its pool holds markup."""
    from g2is.api import compare

    folder = tmp_path_factory.mktemp("compared")
    write_pool(folder / "pool.jsonl", num_rows=80)
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["id"] = f"{HOSTILE}{number}"
        row["messages"][0]["content"] += HOSTILE
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_target(folder / "all.jsonl", num_rows=24)
    lines = (folder / "all.jsonl").read_text().splitlines(keepends=True)
    for number, name in enumerate(TARGETS):
        of = lines[12 * number : 12 * number + 12]
        (folder / f"{name}.jsonl").write_text("".join(of[:6]))
        (folder / f"{name}-test.jsonl").write_text("".join(of[6:]))
    compare(
        pool=folder / "pool.jsonl",
        target={name: folder / f"{name}.jsonl" for name in TARGETS},
        test={name: folder / f"{name}-test.jsonl" for name in TARGETS},
        model=MODEL,
        out=folder / "out",
        budgets=["5%"],
        methods=METHODS,
        num_seeds=2,
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
        tuning={"lora": {"rank": 4}, "learning_rate": 2e-3, "epochs": 1},
        evaluation={"generate": False},
    )
    return folder / "out"


def test_it_shows_methods_side_by_side_and_what_one_alone_took(compared: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(compared / "report.html")
    assert "2 methods compared" in page.locator("h1").inner_text()
    methods = page.locator("#overview td[data-label='method']").all_inner_texts()
    assert sorted(methods) == ["bm25", "full", "full-cut", "less", "random", "untuned"]
    assert page.locator("#losses svg circle").count() == 12
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


def test_each_target_has_its_losses_as_the_tables_have_them(compared: Path, open_page: Callable[..., Any]) -> None:
    entries = json.loads((compared / "comparison.json").read_text())["entries"]
    page = open_page(compared / "report.html")
    facts = page.locator("#overview dl").inner_text()
    assert "seeds\n0, 1" in facts
    assert "first (6 test examples), second (6 test examples)" in facts
    cards = page.locator("#losses .card")
    assert cards.locator("h3").all_inner_texts() == ["5%: first", "5%: second"]
    for target, card in zip(TARGETS, cards.all(), strict=True):
        known = {entry["method"]: entry["by_target"][target]["loss"] for entry in entries}
        told = [text.split(": ") for text in card.locator("circle title").all_text_contents()]
        assert [name for name, _ in told] == sorted(known, key=lambda name: known[name]["value"])
        for name, numbers in told:
            expected = [known[name][part] for part in ("value", "low", "high")]
            assert [float(number) for number in re.findall(r"[\d.]+", numbers)] == pytest.approx(expected, abs=6e-4)
        places = [float(circle.get_attribute("cx")) for circle in card.locator("circle").all()]
        values = [known[name]["value"] for name, _ in told]
        assert np.corrcoef(places, values)[0, 1] > 0.9999, "a loss is as far to the right as it is high"


def test_what_selections_share_and_what_one_took_alone_is_of_all_seeds_and_targets(
    compared: Path, open_page: Callable[..., Any]
) -> None:
    taken = {
        (method, target): [
            {f"{HOSTILE}{row}" for row in json.loads(path.read_text())["rows"]}
            for path in sorted((compared / "cells" / method / target).glob("*/seed-*.json"))
        ]
        for method in METHODS
        for target in TARGETS
    }
    assert all(len(seeds) == 2 for seeds in taken.values())
    assert any(first != second for first, second in taken.values()), "no method's rows depend on the seed"
    page = open_page(compared / "report.html")
    table = page.locator("#alone table[aria-label='rows that only one method took']")
    tally = page.locator("#alone table[aria-label='Rows that only one method took']")
    counted = {
        (method, target): int(number)
        for method, target, _, number in (of.locator("td").all_inner_texts() for of in tally.locator("tbody tr").all())
    }
    for (method, target), seeds in taken.items():
        (other,) = (name for name in METHODS if name != method)
        alone = set().union(*seeds) - set().union(*taken[other, target])
        page.locator("#alone label", has_text="only in").first.locator("select").select_option(method)
        page.locator("#alone label", has_text="target").first.locator("select").select_option(target)
        assert sorted(table.locator("td[data-label='id']").all_inner_texts()) == sorted(alone)
        assert counted.get((method, target), 0) == len(alone)
    jaccard = [
        len(one & two) / len(one | two)
        for target in TARGETS
        for one, two in zip(taken["bm25", target], taken["less", target], strict=True)
    ]
    matrix = page.locator("#alike table.matrix")
    column = matrix.locator("thead th").all_inner_texts().index("less")
    line = matrix.locator("tbody tr", has=page.get_by_role("rowheader", name="bm25", exact=True))
    assert float(line.locator("th, td").nth(column).inner_text()) == pytest.approx(np.mean(jaccard), abs=6e-3)


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

    methods = ["bm25", "full", "full-cut", "less", "random", "untuned"]
    chosen = compared / "selections/less/second/5pct/seed-1"
    page = open_page(report_run(chosen, tmp_path / "of_one.html"))
    beside = page.locator("#beside")
    assert "less on second at 5%, seed 1" in beside.inner_text()
    assert sorted(beside.locator("td[data-label='method']").all_inner_texts()) == methods
    assert beside.locator("svg circle").count() == len(methods)
    told = beside.locator("svg title").all_text_contents()
    assert any(line.startswith("less: ") and "[" in line for line in told)


def test_a_damaged_comparison_leaves_a_note_on_the_page_of_its_selection(compared: Path, tmp_path: Path) -> None:
    from g2is.jobs.report_run import report_run

    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    cell = next((copy / "cells/less").rglob("*.json"))
    cell.write_text(cell.read_text()[:-2])
    page = report_run(copy / "selections/less/first/5pct/seed-0", tmp_path / "of_one.html").read_text()
    assert "What the comparison says that this selection belongs to is left out" in page
    assert '"beside":null' in page
