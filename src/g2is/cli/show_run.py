"""`g2is show`: the first rows of a selection, and its counts."""

from pathlib import Path
from typing import Annotated

import typer

from g2is.cli.session import say_json
from g2is.cli.stopping import stoppable
from g2is.progress.terminal import say

_FIRST = 10


def show(
    run: Annotated[Path, typer.Argument(help="the folder of a selection, or of a walk on matrices")],
    rows: Annotated[int, typer.Option(metavar="N", min=0, help="how many rows")] = _FIRST,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, with what each column says")] = False,
) -> None:
    """The first rows of a selection: what each asks, its length, what it was taken for; and how many there are of what.

    It reads the run's folder alone, and takes no lock. All rows are in RUN/selection.parquet (docs/tables.md).
    """
    from g2is.cli.show import counted
    from g2is.cli.show_rows import show_rows
    from g2is.jobs.show_run import look_at_run

    with stoppable(None):
        found = look_at_run(run)
        if as_json:
            say_json(found.as_json(rows))
        else:
            say(counted(found.selection, found.summary))
            show_rows(found.selection, rows)
