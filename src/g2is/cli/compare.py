"""`g2is compare`: methods side by side."""

# ruff: noqa: ARG001  # parameters tell typer which flags there are; `context.params` holds what was given

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from g2is.cli.recommend import ask_for_folder_alone, show_recommended
from g2is.cli.session import foresee, quiet_libraries, reporter, tell, working
from g2is.cli.show_time import time_lines
from g2is.machine.ranks import check_alone
from g2is.methods import COMPARED
from g2is.progress.terminal import console, say

if TYPE_CHECKING:
    from g2is.comparison.evidence import Comparison
    from g2is.config.compare import CompareConfig
    from g2is.jobs.estimate_comparison import ComparisonEstimate

_WRITTEN = (
    ("comparison.md", "the same tables, also as comparison.csv and comparison.json"),
    ("report.html", "the same and more as a page: open it in a browser"),
)
_RECOMMEND = "of the comparison in OUT, say which method to take and on what evidence; no cell is made"
_METHODS = "names of `g2is methods`, separated by commas"


def compare(
    context: typer.Context,
    wait: bool,
    dry_run: bool,
    out: Annotated[Path, typer.Option(help="the comparison's folder; given again, it goes on with the next cell")],
    test: Annotated[
        list[str],
        typer.Option("--test", metavar="[NAME=]FILE", help="what tuned models are tested on, one for each target"),
    ],
    methods: Annotated[str, typer.Option(metavar="NAMES", help=_METHODS)] = ",".join(COMPARED),
    budgets: Annotated[str, typer.Option(metavar="BUDGETS", help="separated by commas, such as 1%,5%")] = "1%",
    seeds: Annotated[int, typer.Option(help="seeds of warm-up, projection, random draw and tuning")] = 3,
    recommend: Annotated[
        bool, typer.Option("--recommend", help=_RECOMMEND, callback=ask_for_folder_alone, is_eager=True)
    ] = False,
) -> None:
    """Select, tune and test with each method, and put the results in one table with intervals.

    Always among them: the untuned model, a random selection, the full pool, and the full pool for as many optimizer
    steps as a selection gets (full-cut).

    `--learning-rate` and `--rank` are of both trainings, the warm-up and the tuning; `--set warmup.learning_rate=…` or
    `--set tuning.learning_rate=…` says another one of either.

    OUT gets comparison.md, comparison.csv and comparison.json, written anew after each cell, and report.html at the
    end. Methods, budgets and seeds can be added later: finished cells stay.

    `g2is compare --recommend OUT` says, from the cells that are there, which method to take, and what speaks for it.
    """
    if recommend:
        show_recommended(context)
        return
    from g2is.cli.build import compare_config

    run_comparison(compare_config(context), wait, dry_run)


def run_comparison(config: "CompareConfig", wait: bool, dry_run: bool = False) -> None:
    """Compare, or go on, and print the table; of a dry run, what would be done."""
    from g2is.comparison.files import as_json
    from g2is.jobs.compare import compare_methods

    check_alone("g2is compare")
    if dry_run:
        from g2is.jobs.estimate_comparison import estimate_comparison

        foresee(lambda: estimate_comparison(config, reporter()), _show_dry_run)
        return
    quiet_libraries()
    with working(config.out, wait):
        comparison = compare_methods(config, reporter())
        tell(lambda: _show(config, comparison), lambda: as_json(comparison))


def _show(config: "CompareConfig", comparison: "Comparison") -> None:
    from g2is.comparison.terminal import show_comparison

    show_comparison(comparison, console())
    say([f"{config.out / name}  ({what})" for name, what in _WRITTEN if (config.out / name).exists()])


def _show_dry_run(estimate: "ComparisonEstimate") -> None:
    """Say what a comparison would do."""
    num_missing = sum(estimate.num_missing.values())
    methods = ", ".join(f"{num} {method}" for method, num in estimate.num_missing.items())
    tests = ", ".join(
        f"{num:,} rows" + (f" of {target}" if len(estimate.num_test_rows) > 1 else "")
        for target, num in estimate.num_test_rows.items()
    )
    say(
        [
            "This is what would be done; nothing was written.",
            f"  pool       {estimate.num_pool_rows:,} rows, {estimate.num_pool_tokens:,} tokens",
            f"  tests      {tests}",
            f"  cells      {num_missing:,} of {estimate.num_planned:,} are to be made"
            + (f": {methods}" if methods else ""),
            *time_lines(estimate.time, "reading, choosing and the page"),
        ]
    )
