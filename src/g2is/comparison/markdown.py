"""A comparison as a page of GitHub Markdown."""

import json
from collections.abc import Sequence

from g2is.comparison.evidence import Comparison
from g2is.comparison.notes import notes
from g2is.comparison.statistics import BETTER, WORSE
from g2is.comparison.table import (
    Block,
    cost_block,
    grid_lines,
    legend,
    overlap_blocks,
    pair_blocks,
    progress_line,
    result_blocks,
    summary,
)

_WORDS = ("budget", "method", "verdict", "")


def as_markdown(comparison: Comparison) -> str:
    """The summary, how to read it, then everything in full."""
    lines = [f"# Comparison: {progress_line(comparison)}", ""]
    lines += _bullets(grid_lines(comparison))
    lines += ["Mean over targets, best first:", "", *_table(summary(comparison))]
    lines += _bullets(legend(comparison))
    if found := notes(comparison):
        lines += ["## Notes", "", *_bullets(found)]
    for budget in comparison.grid.budgets:
        for block in (*result_blocks(comparison, budget), cost_block(comparison, budget)):
            lines += [f"## {_plain(block.title)}", "", *_table(block)]
    lines += _folded("Each method against each other, relative to random's loss", pair_blocks(comparison))
    lines += _folded("Rows that selections share", overlap_blocks(comparison))
    made_with = {"settings": comparison.settings, "environment": comparison.environment}
    lines += ["<details><summary>Settings, machine, versions</summary>", "", "```json"]
    lines += [json.dumps(made_with, indent=1, ensure_ascii=False, default=str), "```", "", "</details>"]
    return "\n".join(lines) + "\n"


def _bullets(lines: Sequence[str]) -> list[str]:
    return [*(f"- {_plain(line)}" for line in lines), ""]


def _table(block: Block) -> list[str]:
    lines = [_line(block.columns), _line([":--" if title in _WORDS else "--:" for title in block.columns])]
    for row in block.rows:
        lines.append(_line([_strong(cell) if cell.startswith((BETTER, WORSE)) else cell for cell in row.cells]))
    return [*lines, ""]


def _folded(title: str, found: Sequence[Block]) -> list[str]:
    if not found:
        return []
    lines = [f"<details><summary>{title}</summary>", ""]
    for block in found:
        lines += [f"**{_plain(block.title)}**", "", *_table(block)]
    return [*lines, "</details>", ""]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _strong(text: str) -> str:
    return f"**{text}**"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
