"""Runs the stages of a selection up to one, or a walk on matrices, and prints what came of it."""

from typing import TYPE_CHECKING

import typer

from g2is.cli.as_data import made_part, matrices, matrix_walk, selection_as_data, stage_as_data
from g2is.cli.session import foresee, quiet_libraries, reporter, tell, working
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

    run_selection(run_config(command, context), last, dry_run, wait)


def run_part(part: "Part", context: typer.Context, dry_run: bool) -> None:
    """Make a part of the gradient rows and print what came of it."""
    from g2is.cli.build import run_config

    config = run_config("gradients", context)
    if dry_run:
        raise ConfigError(
            f"--dry-run: expected it for all parts, found worker {part}; add --worker 1/1, or leave it out"
        )
    from g2is.jobs.part import make_part

    quiet_libraries()
    with working(config.store, wait=True):
        made = make_part(config, part, reporter())
        tell(lambda: show_part(config, part, made), lambda: made_part(config, part, made))


def run_selection(config: "Config", last: "StageName", dry_run: bool, wait: bool) -> None:
    """Run every stage up to `last`, or go on, and print what came of it."""
    if dry_run:
        from g2is.jobs.estimate import estimate

        foresee(lambda: estimate(config, reporter()), show_dry_run)
        return
    from g2is.jobs.select import run

    quiet_libraries()
    with working(config.out, wait):
        results = run(config, last, reporter())
        selection = results.selection
        if selection is not None:
            tell(
                lambda: show_selection(selection, results.summary),
                lambda: selection_as_data(selection, results.summary),
            )
        else:
            tell(lambda: show_stage(config, last), lambda: stage_as_data(config, last, results))


def run_matrix_walk(config: "MatrixWalkConfig", dry_run: bool, wait: bool) -> None:
    """Walk on matrices and print what came of it."""
    from g2is.jobs.select_matrices import check_matrices, walk_matrices

    check_alone("g2is walk on matrices")
    if dry_run:
        with stoppable(None):
            found = check_matrices(config)
            tell(lambda: show_matrix_dry_run(found), lambda: matrices(found))
        return
    with working(config.out, wait):
        record = walk_matrices(config, reporter())
        tell(lambda: show_matrix_walk(config, record), lambda: matrix_walk(config, record))
