"""`g2is export`: the selected examples of a run, written again."""

from pathlib import Path
from typing import Annotated

import typer

from g2is.cli import options
from g2is.cli.session import reporter, working
from g2is.cli.show import show_selection


def export(
    run: Annotated[Path, typer.Argument(help="a run folder with a selection in it")], wait: options.Wait = False
) -> None:
    """Stage 4: write the selected examples of a run again, as original lines and as messages."""
    from g2is.jobs.export import export_run

    with working(run, wait):
        show_selection(export_run(run, reporter()))
