"""`g2is train --dry-run`: what a training would do, and how long it takes. Nothing is written."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from g2is.config import TrainConfig
from g2is.config.commands import check_command
from g2is.jobs.forecast import Forecast, Load, Work, forecast, sampled
from g2is.jobs.pace import SECONDS, pace_of_training
from g2is.jobs.pinned import pin
from g2is.jobs.train import TrainingInputs, made_from, read_training, rendered_as_selected
from g2is.jobs.work_folder import WorkFolder
from g2is.model.adapter import attach_adapter
from g2is.model.parameters import trainable_parameters
from g2is.model.reporting import check_reporting
from g2is.progress import Reporter
from g2is.training.tune import TRAINING


@dataclass(frozen=True)
class TrainingEstimate:
    """What a training would read and do: each of `num_tokens` once in each of `num_epochs`.

    `num_parameters` are those of the frozen model, `num_coordinates` those of the adapter.
    """

    num_examples: int
    num_tokens: int
    num_truncated: int
    num_epochs: int
    num_steps: int
    num_parameters: int
    num_coordinates: int
    is_done: bool
    time: Forecast


def estimate_training(config: TrainConfig, reporter: Reporter) -> TrainingEstimate:
    """Read the examples and measure passes over them. Raises what the training would of files, model and --out."""
    config = pin(rendered_as_selected(config), reporter)
    check_reporting(config.execution)
    check_command(config.out, type(config))
    with tempfile.TemporaryDirectory() as scratch:
        found = read_training(config, Path(scratch), reporter)
        model = found.model.without_weights()
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        with torch.device("meta"):
            adapted = attach_adapter(model, config.tuning.lora, config.tuning.seed, "tuning")
        made_from(WorkFolder(config.out, new=False), config, found)
        is_done = (config.out / TRAINING).exists()
        num_tokens, epochs = int(found.table.num_tokens.sum()), config.tuning.epochs
        return TrainingEstimate(
            num_examples=len(found.table),
            num_tokens=num_tokens,
            num_truncated=found.table.num_truncated,
            num_epochs=epochs,
            num_steps=epochs * -(-len(found.table) // config.tuning.batch_size),
            num_parameters=num_parameters,
            num_coordinates=sum(parameter.numel() for parameter in trainable_parameters(adapted).values()),
            is_done=is_done,
            time=Forecast(why_not="there is nothing to do: the training in --out is done")
            if is_done
            else _time(config, found, num_parameters, num_tokens * epochs, reporter),
        )


def _time(
    config: TrainConfig, found: TrainingInputs, num_parameters: int, num_tokens: int, reporter: Reporter
) -> Forecast:
    rows = sampled(found.table, len(found.table))

    def measure(load: Load) -> Work:
        adapted: Any = attach_adapter(load(), config.tuning.lora, config.tuning.seed, "tuning")
        return {"tuning": (pace_of_training(adapted, config.tuning, rows, SECONDS), float(num_tokens))}

    with reporter.stage("measure", "passes"):
        return forecast(found.model, num_parameters, config.execution, measure)
