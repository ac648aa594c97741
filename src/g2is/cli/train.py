"""`g2is train`: fine-tune on a selection and say how it went."""

# ruff: noqa: ARG001  # parameters tell typer which flags there are; `context.params` holds what was given

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from g2is.cli.session import foresee, quiet_libraries, reporter, tell, working
from g2is.cli.show_time import time_lines
from g2is.progress.terminal import say

if TYPE_CHECKING:
    from g2is.config import TrainConfig
    from g2is.jobs.estimate_training import TrainingEstimate
    from g2is.jobs.train import Tuned


def train(
    context: typer.Context,
    wait: bool,
    dry_run: bool,
    out: Annotated[Path, typer.Option(help="the adapter's folder; given again, a stopped training goes on")],
    data: Annotated[
        list[str] | None, typer.Argument(help="a run folder with a selection, or files of examples")
    ] = None,
) -> None:
    """Fine-tune a LoRA adapter on a selection. The model may be another, larger one than the one that selected.

    How, is set with `--learning-rate`, `--rank` and `--set tuning.…`: for example `--set tuning.epochs=1`. The result,
    OUT/adapter, loads with PEFT.
    """
    from g2is.cli.build import train_config

    run_training(train_config(context), wait, dry_run)


def run_training(config: "TrainConfig", wait: bool, dry_run: bool = False) -> None:
    """Train, or go on, and print what came of it; of a dry run, what would be done."""
    if dry_run:
        from g2is.jobs.estimate_training import estimate_training

        foresee(lambda: estimate_training(config, reporter()), _show_dry_run)
        return
    from g2is.jobs.train import train as tune

    quiet_libraries()
    with working(config.out, wait):
        tuned = tune(config, reporter())
        tell(lambda: _show(tuned), lambda: {"adapter": tuned.adapter, **tuned.record})


def _show(tuned: "Tuned") -> None:
    """Say how a training went and where its adapter lies."""
    losses = tuned.record["loss_by_step"]
    lines = [
        f"tuned on {tuned.record['num_examples']:,} examples in {tuned.record['num_steps']:,} steps,"
        f" loss {losses[0]:.3f} at first, {losses[-1]:.3f} at last",
        f"  {tuned.adapter}  (load it with PEFT)",
    ]
    say(lines)


def _show_dry_run(estimate: "TrainingEstimate") -> None:
    """Say what a training would do."""
    shortened = f", {estimate.num_truncated:,} too long" if estimate.num_truncated else ""
    passes = f"{estimate.num_epochs} {'pass' if estimate.num_epochs == 1 else 'passes'}"
    say(
        [
            "This is what would be done; nothing was written.",
            f"  examples   {estimate.num_examples:,} rows, {estimate.num_tokens:,} tokens{shortened}",
            f"  tuning     {passes}, {estimate.num_steps:,} optimizer steps,"
            f" {estimate.num_coordinates:,} adapter coordinates on {estimate.num_parameters:,} parameters",
            *time_lines(estimate.time, "reading and checkpoints"),
        ]
    )
