"""Every way a comparison is shown, whole and with cells missing."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from g2is.comparison.cells import Cell, Key
from g2is.comparison.evidence import Comparison
from g2is.comparison.files import as_csv, as_json, write_comparison
from g2is.comparison.grid import Grid
from g2is.comparison.markdown import as_markdown
from g2is.comparison.table import pair_blocks, verdict_text
from g2is.comparison.terminal import show_comparison

Compare = Callable[..., Comparison]


def shown(comparison: Comparison, width: int) -> str:
    text = io.StringIO()
    show_comparison(comparison, Console(file=text, width=width, color_system=None))
    return text.getvalue()


def lines_of(text: str, title: str) -> list[str]:
    """The table below the first line that starts with `title`."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.lstrip("# ").startswith(title))
    rest = lines[begin + 1 :]
    return rest[: next((number for number, line in enumerate(rest) if number and not line.strip()), len(rest))]


@pytest.fixture
def under_way(cells: dict[Key, Cell]) -> dict[Key, Cell]:
    """Every third cell is missing, and all of one target at one budget."""
    return {key: cell for number, (key, cell) in enumerate(cells.items()) if number % 3 and key[1:3] != ("asset", "5%")}


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("whole", [True, False])
def test_no_line_in_the_terminal_is_wider_than_it_and_none_is_cut(
    cells: dict[Key, Cell], under_way: dict[Key, Cell], compare: Compare, width: int, whole: bool
) -> None:
    text = shown(compare(cells if whole else under_way), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    assert "worse than random" in text


def test_a_long_name_of_a_method_is_broken_and_not_cut(cells: dict[Key, Cell], compare: Compare) -> None:
    name = "gradient-walk-with-a-conflict-tolerance"
    grid = Grid((name, "random"), ("gsm8k",), ("1%",), (0,))
    renamed = [cell for key, cell in cells.items() if key == Key("random", "gsm8k", "1%", 0)]
    text = shown(compare(iter(renamed), grid=grid), 80)
    assert max(map(cell_len, text.splitlines())) <= 80
    pieces = [line[:20].strip() for line in lines_of(text, "1%: gsm8k")]
    assert name in "".join(pieces)


def test_the_narrow_terminal_holds_the_same_numbers_as_the_wide_one(cells: dict[Key, Cell], compare: Compare) -> None:
    comparison = compare(cells)
    narrow, wide = (sorted(shown(comparison, width).split()) for width in (80, 200))
    numbers = [{word for word in words if any(letter.isdigit() for letter in word)} for words in (narrow, wide)]
    assert numbers[0] == numbers[1]


def test_the_header_counts_what_is_done(cells: dict[Key, Cell], under_way: dict[Key, Cell], compare: Compare) -> None:
    assert shown(compare(cells), 100).startswith("Comparison: 56 of 56 cells done\n")
    assert shown(compare(under_way), 100).startswith(f"Comparison: {len(under_way)} of 56 cells done\n")
    assert as_markdown(compare({})).startswith("# Comparison: 0 of 56 cells done\n")


def test_nothing_done_is_all_dashes_but_for_what_is_planned(compare: Compare) -> None:
    table = lines_of(shown(compare({}), 120), "1%: gsm8k")
    found = {line.split()[0]: set(line.split()[1:]) for line in table[1:]}
    assert found["g2is"] == {"–", "0", "of", "3"}
    assert found["untuned"] == {"–", "0", "of", "1"}
    assert found["full-cut"] == {"–"}
    assert "nan" not in as_markdown(compare({}))


def test_cells_are_counted_by_line_only_while_some_are_missing(
    cells: dict[Key, Cell], under_way: dict[Key, Cell], compare: Compare
) -> None:
    assert "cells" not in lines_of(as_markdown(compare(cells)), "1%: gsm8k")[1]
    table = lines_of(as_markdown(compare(under_way)), "1%: gsm8k")
    assert "cells" in table[1]
    assert any("2 of 3" in line for line in table)


def test_markdown_tables_have_as_many_cells_in_every_line(
    cells: dict[Key, Cell], under_way: dict[Key, Cell], compare: Compare
) -> None:
    for comparison in (compare(cells), compare(under_way), compare({})):
        width = None
        for line in as_markdown(comparison).splitlines():
            if not line.startswith("|"):
                width = None
                continue
            num = line.count("|")
            assert num == (width or num), line
            width = num


def test_the_summary_says_what_is_worse_than_random_and_what_is_worse_than_untuned(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    worst = {
        key: type(cell)(**{**vars(cell), "losses": cell.losses + 1.0}) if key[0] == "rds+" else cell
        for key, cell in cells.items()
    }
    text = as_markdown(compare(worst))
    assert "| **worse than random, untuned** |" in text
    assert re.search(r"\| 1% \| random \| 1 \| – \|  \| 0 \|\n", text)
    assert max(len(line) for line in text.splitlines() if line.startswith("| 1% |")) < 100


def test_a_method_can_be_better_than_random_and_still_worse_than_untuned(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    harmful = {"g2is": 1.0, "random": 1.3}
    moved = {
        key: type(cell)(**{**vars(cell), "losses": cell.losses + harmful.get(key[0], 0)}) for key, cell in cells.items()
    }
    comparison = compare(moved)
    verdicts = {entry.method: verdict_text(entry.mean, entry.method) for entry in comparison.entries["1%"]}
    assert verdicts["g2is"] == "better than random, worse than untuned"
    assert (verdicts["less"], verdicts["full-cut"]) == ("better", "–")
    assert "better than random," in shown(comparison, 80)


def test_random_itself_may_be_worse_than_untuned(cells: dict[Key, Cell], compare: Compare) -> None:
    worse = {
        key: type(cell)(**{**vars(cell), "losses": cell.losses + 1.0}) if key[0] == "random" else cell
        for key, cell in cells.items()
    }
    random = next(entry for entry in compare(worse).entries["1%"] if entry.method == "random")
    assert verdict_text(random.mean, "random") == "worse than untuned"


def test_methods_that_seeds_order_differently_are_marked(cells: dict[Key, Cell], compare: Compare) -> None:
    def against(cells: dict[Key, Cell]) -> str:
        block = pair_blocks(compare(cells))[0]
        line = next(row.cells for row in block.rows if row.cells[0] == "less")
        return line[block.columns.index("rds+")]

    assert against(cells).startswith("−")
    assert "seeds" not in against(cells)
    for target in ("gsm8k", "asset"):
        key = Key("less", target, "1%", 1)
        cells[key] = replace(cells[key], losses=cells[key].losses + 0.6)
    assert against(cells).endswith("(2 of 3 seeds)")


def test_what_is_not_a_number_is_a_dash_and_what_has_no_interval_a_number(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    key = Key("less", "gsm8k", "1%", 1)
    broken = {**cells, key: replace(cells[key], losses=np.full(200, np.nan))}
    of_one = {
        key: replace(cell, losses=cell.losses[:1], num_learned=cell.num_learned[:1], metrics={})
        for key, cell in cells.items()
    }
    for given in (broken, of_one):
        comparison = compare(given)
        for text in (as_markdown(comparison), shown(comparison, 120)):
            assert not re.search(r"(?<!\w)nan(?!\w)", text)
    assert re.search(r"\| 1% \| less \| 0\.[0-9]+ \|", as_markdown(compare(of_one)))


def test_a_cell_that_begins_like_a_formula_is_a_text(cells: dict[Key, Cell], compare: Compare) -> None:
    evil = "=cmd|'/c calc'!A1"
    naive = io.StringIO()
    csv.writer(naive).writerow([evil])
    assert naive.getvalue().startswith("=cmd")  # what Excel, LibreOffice and Google Sheets carry out
    for begin in ("=", "+", "-", "@", "\t", "\r"):
        grid = Grid(("random", f"{begin}1+1"), ("gsm8k",), ("1%",), (0,))
        text = as_csv(compare({key: cells[key] for key in cells if key.method == "random"}, grid=grid))
        methods = {line["method"] for line in csv.DictReader(io.StringIO(text))}
        assert f"'{begin}1+1".replace("\r", " ") in methods
        assert not any(name.startswith(begin) for name in methods)
    numbers = [
        line for line in csv.DictReader(io.StringIO(as_csv(compare(cells)))) if line["loss"] and float(line["loss"]) > 0
    ]
    assert numbers, "numbers stay the numbers they are"


def test_a_name_with_a_bar_does_not_break_the_markdown(cells: dict[Key, Cell], compare: Compare) -> None:
    grid = Grid(("random", "a|b"), ("gsm8k",), ("1%",), (0,))
    key = Key("random", "gsm8k", "1%", 0)
    assert "| a\\|b |" in as_markdown(compare({key: cells[key]}, grid=grid))


def test_the_csv_has_a_line_for_every_cell_and_for_every_mean(
    cells: dict[Key, Cell], under_way: dict[Key, Cell], compare: Compare
) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(compare(under_way)))))
    kinds = [line["kind"] for line in lines]
    assert kinds.count("cell") == len(cells)
    assert sum(line["num_done"] == "1" for line in lines if line["kind"] == "cell") == len(under_way)
    assert kinds.count("mean over seeds") == 7 * 2 * 2  # with full-cut, which was not run
    assert kinds.count("mean over targets") == 7 * 2
    for line in lines:
        if line["kind"] == "cell" and line["num_done"] == "1":
            key = Key(
                line["method"], line["target"], line["budget"] or None, int(line["seed"]) if line["seed"] else None
            )
            assert float(line["loss"]) == cells[key].loss
    assert not any(field and "nan" in field for line in lines for field in line.values())


def test_the_json_is_strict_and_holds_the_numbers_of_the_table(
    cells: dict[Key, Cell], under_way: dict[Key, Cell], compare: Compare
) -> None:
    for given in (cells, under_way, {}):
        comparison = compare(given)
        values = json.loads(json.dumps(as_json(comparison), allow_nan=False))
        assert (values["num_done"], values["num_planned"]) == (len(given), len(cells))
        assert values["grid"]["seeds"] == [0, 1, 2]
        assert values["settings"] == {"model": "made-up"}
        first = values["entries"][0]
        expected = comparison.entries["1%"][0]
        assert first["method"] == expected.method
        if expected.mean.relative:
            assert first["mean"]["relative"]["low"] == expected.mean.relative.low
        assert len(values["cells"]) + len(values["missing"]) == len(cells)


def test_the_files_are_written_again_to_the_same_bytes(
    cells: dict[Key, Cell], compare: Compare, tmp_path: Path
) -> None:
    write_comparison(tmp_path, compare(cells))
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(first) == ["comparison.csv", "comparison.json", "comparison.md"]
    write_comparison(tmp_path, compare(cells))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_one_target_has_one_table_that_says_all_and_several_have_one_each_and_their_mean(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    methods = ("untuned", "random", "g2is", "full")
    one = compare(
        (cell for key, cell in cells.items() if key.target == "gsm8k"), grid=Grid(methods, ("gsm8k",), ("1%",), (0, 1))
    )
    for text in (shown(one, 200), as_markdown(one)):
        titles = [line.lstrip("# ") for line in text.splitlines() if line.lstrip("# ").startswith("1%: ")]
        assert sorted(titles) == ["1%: cost of a cell, and stability over seeds", "1%: gsm8k, nats per answer token"]
        assert not any("mean over targets" in line for line in text.splitlines() if line.startswith("1%"))
    header = lines_of(as_markdown(one), "1%: gsm8k")[1]
    assert [
        name for name in ("loss", "÷ random", "− random", "verdict", "over seeds", "| R") if name not in header
    ] == []
    both = shown(compare(cells), 200)
    assert "1%: mean over gsm8k, asset" in both
    assert "÷ random" not in lines_of(both, "1%: gsm8k")[0]
