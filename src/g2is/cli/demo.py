"""`g2is demo`: run it, and print what was selected and what that is worth."""

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from g2is.cli.as_data import demo_as_data
from g2is.cli.session import quiet_libraries, reporter, tell, working
from g2is.progress import terminal

if TYPE_CHECKING:
    from g2is.demo.run import Demo

_BAR = 24  # characters of the longest bar
_MIN_WIDTH = 80


def demo(
    wait: bool,
    out: Annotated[Path, typer.Option(help="folder for the sample, the run and the tuned adapters")] = Path("demo-run"),
) -> None:
    """The whole job on a bundled sample and tiny model, and what the selection is worth: 3 minutes on a CPU."""
    begin = time.monotonic()
    from g2is.demo.run import run_demo

    quiet_libraries()
    with working(out, wait):
        tell_demo(run_demo(out, reporter()), time.monotonic() - begin)


def tell_demo(demo: "Demo", seconds: float) -> None:
    """Print what the demo found in `seconds`, as was asked for."""
    tell(lambda: show_demo(demo, seconds), lambda: demo_as_data(demo, seconds))


def show_demo(demo: "Demo", seconds: float) -> None:
    """Print the selection by skill, the comparison, and what to do next."""
    console = terminal.console(markup=True)
    if not console.is_terminal:
        console = terminal.console(markup=True, width=_MIN_WIDTH)
    num_selected = len(demo.selection.rows)
    console.print(
        f"\n[bold]{num_selected} of {demo.pool_skills.total():,} rows selected.[/] The target asks for products of"
        " two-digit numbers, worked out on paper. The pool holds no such row; it holds what they are made of:"
        f" {', '.join(_words(name) for name in demo.needed)}."
    )
    console.print(_skills(demo))
    console.print(
        "\n[bold]What a model learns from it.[/] The same model, tuned four epochs on each subset, asked 100 products"
        " it has not seen:"
    )
    console.print(_outcomes(demo))
    console.print(
        f"\n{seconds:.0f} s in all. The selection: {demo.selection.folder / 'selected.jsonl'}\n"
        f"Why each row was taken: {demo.selection.folder / 'selection.parquet'}\n"
        f"To look at, in a browser: {demo.selection.folder / 'report.html'}\n"
        f"Next, with your own files:\n{_activate()}"
        "  g2is select POOL TARGET --model MODEL --budget 1% --out runs/first",
        soft_wrap=True,
    )


def _activate() -> str:
    """How the shell finds the command, where its environment is not active: after `make demo`, say."""
    if sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return ""
    return f"  source {shlex.quote(f'{sys.prefix}/bin/activate')}\n"


def _skills(demo: "Demo") -> Table:
    table = Table(box=None, padding=(0, 1))
    table.add_column("skill")
    table.add_column("selected", justify="right")
    table.add_column("in the pool", justify="right")
    table.add_column()
    most = max(demo.selected_skills.values())
    for name, number in demo.selected_skills.most_common():
        bar = "█" * max(1, round(_BAR * number / most))
        style = "green" if name in demo.needed else ""
        mark = " (needed)" if name in demo.needed else ""
        table.add_row(_words(name) + mark, str(number), str(demo.pool_skills[name]), bar, style=style)
    rest = [name for name in demo.pool_skills if name not in demo.selected_skills]
    if rest:
        table.add_row(
            f"{len(rest)} other skills", "0", str(sum(demo.pool_skills[name] for name in rest)), "", style="dim"
        )
    return table


def _outcomes(demo: "Demo") -> Table:
    table = Table(box=None, padding=(0, 1))
    table.add_column("tuned on")
    for title in ("rows", "loss a token", "exact answers", "seconds"):
        table.add_column(title, justify="right")
    for outcome in demo.outcomes:
        table.add_row(
            "nothing (untuned)" if outcome.num_rows == 0 else outcome.name,
            f"{outcome.num_rows:,}",
            f"{outcome.loss:.3f}",
            f"{outcome.exact_match_fraction:.0%}",
            f"{outcome.seconds:.0f}" if outcome.num_rows else "",
            style="green" if outcome.name == "selection" else "",
        )
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")
