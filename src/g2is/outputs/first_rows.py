"""The first rows of a selection, as a terminal or a notebook shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from g2is.errors import G2isError
from g2is.outputs.tables import read_first, read_table, stored_columns

_MEASURES = ("score", "similarity_to_core")  # what a row was taken for: the first that the table has
_NUMBERS = ("#", "tokens", *_MEASURES)
_NONE = "–"


@dataclass(frozen=True)
class FirstRows:
    """Columns by their titles, of which `numbers` are; the cells of each row on one line; what the measures say."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_rows: int
    told: Sequence[str]

    @property
    def numbers(self) -> list[bool]:
        """Which columns are numbers."""
        return [title in _NUMBERS for title in self.titles]


def first_rows(path: Path, num: int) -> FirstRows:
    """The first `num` rows of the selection.parquet at `path`. Raises StoreError if it cannot be read.

    A target or source that all rows of the selection share is not among the columns.
    """
    columns, rows = stored_columns(path), read_first(path, num)
    table = read_table(path, [name for name in ("target", "source", *_MEASURES) if name in columns])
    differing = [name for name in ("target", "source") if name in columns and len(table[name].unique()) > 1]
    measures = [name for name in _MEASURES if name in columns and table[name].null_count < len(table)][:1]
    shown = ["id", *differing, *(name for name in ("tokens", *measures, "text") if name in columns)]
    told = [(name, columns[name]) for name in measures if columns[name]]  # those of older versions say nothing
    return FirstRows(
        ["#", *shown],
        [[f"{row['order'] + 1:,}", *(_cell(row[name]) for name in shown)] for row in rows],
        len(table),
        [f"{name}: {of['meaning']}" + (f" ({of['unit']})" if "unit" in of else "") for name, of in told],
    )


def as_html(path: Path, num: int, what: str) -> str:
    """The same as HTML, below the line `what`; that line alone where the table cannot be read."""
    try:
        found = first_rows(path, num)
    except G2isError:
        return f"<p>{escape(what)}</p>"
    head = "".join(f"<th>{escape(title)}</th>" for title in found.titles)
    style = [' style="text-align:right"' if is_number else ' style="text-align:left"' for is_number in found.numbers]
    body = "".join(
        f"<tr>{''.join(f'<td{of}>{escape(cell)}</td>' for of, cell in zip(style, row, strict=True))}</tr>"
        for row in found.rows
    )
    more = f"<p>{found.num_rows - len(found.rows):,} more rows</p>" if found.num_rows > len(found.rows) else ""
    return f"<p>{escape(what)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    """A value on one line."""
    if value is None:
        return _NONE
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())
