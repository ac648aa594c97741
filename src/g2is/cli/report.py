"""`g2is report`: the page that shows a selection or a comparison."""

from pathlib import Path
from typing import Annotated

import typer

from g2is.cli.session import quiet_libraries, reporter, tell, working
from g2is.progress.terminal import say


def report(
    wait: bool,
    run: Annotated[Path, typer.Argument(help="the folder of a selection or a comparison")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="another place than RUN/report.html")] = None,
    layout: Annotated[str, typer.Option(metavar="tsne|umap", help="what lays out the map")] = "tsne",
) -> None:
    """Write report.html: what was selected and why, as a page that needs no network; open it in a browser.

    It shows the map of the very rows that the method looked at, every selected row with its reasons, near misses,
    distributions and costs. `select` writes it as well, with a map that takes less time. map.parquet beside it is the
    map as a table.
    """
    from g2is.jobs.report_run import report_run

    quiet_libraries()
    with working(run, wait):
        page = report_run(run, out, layout, reporter())
        num_bytes = page.stat().st_size
        tell(
            lambda: say([f"{page}  ({num_bytes / 1e6:.1f} MB; open it in a browser)"]),
            lambda: {"page": page, "num_bytes": num_bytes},
        )
