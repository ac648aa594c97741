"""A comparison in the terminal: tables that fit its width."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from g2is.comparison.evidence import Comparison
from g2is.comparison.notes import notes
from g2is.comparison.recommend import Recommendation
from g2is.comparison.statistics import BETTER, WORSE
from g2is.comparison.table import Block, cost_block, grid_lines, legend, progress_line, result_blocks
from g2is.methods import RANDOM

_GAP = 2
_WIDEST = 20  # of a column of words: longer ones are broken
_WORDS = ("method", "verdict")
_STYLES = {BETTER: "green", WORSE: "red", "baseline": "dim"}


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Print the tables, each cut into as many as fit the console's width.

    Means last, or the one target, where they are seen without scrolling; then what must be known to read them.
    """
    console.print(Text(f"Comparison: {progress_line(comparison)}", style="bold"))
    for line in grid_lines(comparison):
        console.print(Text(f"  {line}"))
    blocks = {budget: result_blocks(comparison, budget) for budget in comparison.grid.budgets}
    for budget, (_, *of_targets) in blocks.items():
        for block in of_targets:
            _show(block, console)
        _show(cost_block(comparison, budget), console)
    for first, *_ in blocks.values():
        _show(first, console)
    _show_list("How to read it", legend(comparison), console)
    _show_list("Notes", notes(comparison), console)


def show_recommendations(found: Sequence[Recommendation], console: Console) -> None:
    """Print, for each budget, the method to take, how far the evidence goes, the evidence, and what it lacks."""
    for of_budget in found:
        if of_budget is not found[0]:
            console.print()
        console.print(Text(f"At {of_budget.budget}: {_advice(of_budget)}", style="bold"))
        if of_budget.cheaper:
            console.print(Text(f"  {of_budget.cheaper} is not told apart from it, and selects in less time"))
        _show_list("Evidence", of_budget.evidence, console)
        _show_list("What it lacks", of_budget.doubts, console)


def _advice(found: Recommendation) -> str:
    if found.method is None:
        return "nothing to recommend"
    if found.method == RANDOM:
        return "no method is shown to be better than random rows"
    told = {
        "clear": f"take {found.method}, which is better than every other method compared",
        "shared": f"take {found.method}; others may be as good",
        "thin": f"{found.method} is ahead, but the evidence is too thin to recommend it",
    }
    return told[found.standing]


def _show(block: Block, console: Console) -> None:
    for number, columns in enumerate(_fitting(block, console.width)):
        console.print()
        console.print(Text(block.title + (" (continued)" if number else ""), style="bold"))
        console.print(_table(block, columns))


def _show_list(title: str, lines: Sequence[str], console: Console) -> None:
    if not lines:
        return
    console.print()
    console.print(Text(title, style="bold"))
    listed = Table.grid(padding=(0, 1))
    for line in lines:
        listed.add_row(" •", Text(line))
    console.print(listed)


def _fitting(block: Block, width: int) -> list[list[int]]:
    """The columns of each table that `block` is cut into; the first, the method, is in all of them."""
    widths = [_width(block, place) for place in range(len(block.columns))]
    cut: list[list[int]] = [[0]]
    for place in range(1, len(widths)):
        taken = sum(widths[other] + _GAP for other in cut[-1])
        if len(cut[-1]) > 1 and taken + widths[place] > width:
            cut.append([0])
        cut[-1].append(place)
    return cut


def _width(block: Block, place: int) -> int:
    widest = max(cell_len(text) for text in (block.columns[place], *(row.cells[place] for row in block.rows)))
    return min(widest, _WIDEST) if block.columns[place] in _WORDS else widest


def _table(block: Block, columns: Sequence[int]) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for place in columns:
        is_words = block.columns[place] in _WORDS
        table.add_column(
            Text(block.columns[place]),
            justify="left" if is_words else "right",
            no_wrap=not is_words,
            overflow="fold",
            width=_width(block, place),
        )
    for row in block.rows:
        table.add_row(*(Text(row.cells[place]) for place in columns), style=_STYLES.get(row.kind, ""))
    return table
