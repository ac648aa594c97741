"""A training of several processes: process 0 hands it out, the others load the same model and do their share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import distributed

from g2is.config import ExecutionConfig, ModelConfig, Parameters, TuningConfig, WarmupConfig
from g2is.machine.places import alone
from g2is.machine.ranks import Team, check_device, process_group, team
from g2is.model.batches import Row

TRAINING = "training"  # what `task["do"]` says
Schedule = Literal["linear", "cosine", "constant_with_warmup"]
Optimizer = Literal["adamw_torch", "adafactor"]


@dataclass(frozen=True)
class Training:
    """All that decides a training but the model in memory, which `base` names for other processes.

    `folder` is the Trainer's, which all processes see; `resume_from` the checkpoint in it to go on from. `parameters`
    says what of the model is trained: an adapter, or all linear layers.
    """

    base: ModelConfig | None
    rows: Sequence[Row]
    folder: Path
    config: WarmupConfig | TuningConfig
    schedule: Schedule
    execution: ExecutionConfig
    resume_from: Path | None
    parameters: Parameters = "lora"
    optimizer: Optimizer = "adamw_torch"


@contextmanager
def led(training: Training, device: torch.device) -> Iterator[None]:
    """Within this the steps of `training` are done: by process 0 of several, with the others, or by one alone.

    Raises WorkerError if another process is gone, and what another gave up for.
    """
    others = team()
    if others is None:
        with alone():
            yield
        return
    assert others.leads, "only process 0 of several begins a training"
    check_device(device)
    number = others.hand_out({"do": TRAINING, "device": device.type})
    try:
        with process_group(others, number, device):
            _broadcast(replace(training, execution=training.execution.model_copy(update={"report_to": ()})))
            others.wait_until_ready(number)
            yield
    except BaseException as error:
        cause = others.cause_of(error)
        if cause is error:
            raise
        raise cause from None


@contextmanager
def joined(others: Team, number: int, task: dict[str, Any]) -> Iterator[Training]:
    """Within this another process than 0 does its share of the training that `task` is."""
    device = torch.device(task["device"])
    check_device(device)
    with process_group(others, number, device):
        yield _broadcast(None)


def _broadcast(training: Training | None) -> Training:
    """Send the training from process 0 to all others; what these give is not looked at."""
    sent = [training]
    distributed.broadcast_object_list(sent, src=0, device=torch.device("cpu"))
    assert sent[0] is not None
    return sent[0]
