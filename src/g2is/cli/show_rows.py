"""The first rows of a selection as a table that fits the terminal."""

from typing import TYPE_CHECKING, Literal

from g2is.errors import plural
from g2is.progress.terminal import console, say

if TYPE_CHECKING:
    from g2is.jobs.run_folder import Selection

_GAP = 2
_NARROWEST = 80  # columns, where standard output is no terminal
_WIDEST = {"id": 24, "target": 16, "source": 20}
_LEAST_TEXT, _LEAST_NAME = 20, 8  # of the width of a text and of a name, however narrow the terminal
_NARROWED = ("source", "target", "id")  # in this order, where the terminal is too narrow


def show_rows(selection: "Selection", num: int, more: str = "") -> None:
    """Print the first `num` rows, and `more` about where others are; nothing where there are none to show."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    from g2is.jobs.show_run import rows_of

    found = rows_of(selection, num)
    if not found.rows:
        return
    on = console()
    if not on.is_terminal and on.width < _NARROWEST:
        on = console(width=_NARROWEST)
    columns = zip(found.titles, *found.rows, strict=True)
    widths = [
        min(max(map(cell_len, column)), _WIDEST.get(title, on.width))
        for title, column in zip(found.titles, columns, strict=True)
    ]
    least = min(widths[-1], _LEAST_TEXT) if found.titles[-1] == "text" else widths[-1]
    over = sum(widths[:-1]) + _GAP * (len(widths) - 1) + least - on.width
    for title in _NARROWED:  # else rich makes all narrower, numbers too
        if over > 0 and title in found.titles:
            at = found.titles.index(title)
            narrower = max(min(widths[at], _LEAST_NAME), widths[at] - over)
            over, widths[at] = over - widths[at] + narrower, narrower
    if found.titles[-1] == "text":
        taken = sum(width + _GAP for width in widths[:-1])
        widths[-1] = min(widths[-1], max(_LEAST_TEXT, on.width - taken))
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for title, width, is_number in zip(found.titles, widths, found.numbers, strict=True):
        justify: Literal["right", "left"] = "right" if is_number else "left"
        table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in found.rows:
        table.add_row(*map(Text, row))
    say(["", f"the first {len(found.rows):,} of {plural(found.num_rows, 'row')}{more}"])
    on.print(table)
    say(f"  {line}" for line in found.told)
