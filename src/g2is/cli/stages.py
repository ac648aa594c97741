"""Runs the stages of a selection up to one, or a walk on matrices, and prints what came of it."""

from typing import TYPE_CHECKING

import typer

from g2is.cli.session import quiet_libraries, reporter, working
from g2is.cli.show import (
    show_dry_run,
    show_matrix_dry_run,
    show_matrix_walk,
    show_part,
    show_selection,
    show_stage,
)
from g2is.cli.stopping import stoppable
from g2is.errors import ConfigError
from g2is.machine.ranks import check_alone

if TYPE_CHECKING:
    from g2is.config import Config, MatrixWalkConfig
    from g2is.config.part import Part
    from g2is.jobs.select import StageName


def run_stages(command: str, context: typer.Context, last: "StageName", dry_run: bool, wait: bool) -> None:
    """Do what the flags of `command` say, up to the stage `last`."""
    from g2is.cli.build import run_config

    run_selection(run_config(command, context.params), last, dry_run, wait)


def run_part(part: "Part", context: typer.Context, dry_run: bool) -> None:
    """Make a part of the gradient rows and print what came of it."""
    from g2is.cli.build import run_config

    config = run_config("gradients", context.params)
    if dry_run:
        raise ConfigError(
            f"--dry-run: expected it for all parts, found worker {part}; add --worker 1/1, or leave it out"
        )
    from g2is.jobs.part import make_part

    quiet_libraries()
    with working(config.store, wait=True):
        show_part(config, part, make_part(config, part, reporter()))


def run_selection(config: "Config", last: "StageName", dry_run: bool, wait: bool) -> None:
    """Run every stage up to `last`, or go on, and print what came of it."""
    if dry_run:
        from g2is.jobs.estimate import estimate

        quiet_libraries()
        with stoppable(None):
            show_dry_run(estimate(config, reporter()))
        return
    from g2is.jobs.select import run

    quiet_libraries()
    with working(config.out, wait):
        results = run(config, last, reporter())
        if results.selection is not None:
            show_selection(results.selection, results.summary)
        else:
            show_stage(config, last)


def run_matrix_walk(config: "MatrixWalkConfig", dry_run: bool, wait: bool) -> None:
    """Walk on matrices and print what came of it."""
    from g2is.jobs.select_matrices import check_matrices, walk_matrices

    check_alone("g2is walk on matrices")
    if dry_run:
        with stoppable(None):
            show_matrix_dry_run(check_matrices(config))
        return
    with working(config.out, wait):
        show_matrix_walk(config, walk_matrices(config, reporter()))
