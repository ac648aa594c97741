"""Where a training also logs to, beside what g2is keeps: TensorBoard, Weights & Biases."""

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from g2is.config import ExecutionConfig
from g2is.errors import ConfigError

_LOG_FOLDERS = ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR")


def check_reporting(execution: ExecutionConfig) -> None:
    """Raise ConfigError if a package that the training is to log to is not there."""
    for package in execution.report_to:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"execution.report_to: expected the package {package}, found it not installed; pip install"
                f" 'g2is[{package}]', or leave it out"
            )


@contextmanager
def logging_below(folder: Path, packages: Sequence[str]) -> Iterator[None]:
    """Within this the Trainer's callbacks log in `folder`: they take it from the environment, and from nowhere else."""
    before = {name: os.environ.get(name) for name in _LOG_FOLDERS}
    if packages:
        folder.mkdir(parents=True, exist_ok=True)  # wandb goes elsewhere if it is not there
        os.environ.update(dict.fromkeys(_LOG_FOLDERS, str(folder)))
    try:
        yield
    finally:
        if "wandb" in packages and (wandb := sys.modules.get("wandb")) is not None:
            wandb.finish()  # else what it logged is written when the process ends, and the next training joins this run
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
