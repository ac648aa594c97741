"""What the other processes of a command do while process 0 does it: their share of what it hands out."""

from collections.abc import Callable, Mapping
from typing import Any

from g2is.machine.ranks import Team
from g2is.model.beside import train_beside
from g2is.model.together import TRAINING

_DO: Mapping[str, Callable[[Team, int, dict[str, Any]], None]] = {TRAINING: train_beside}


def work_beside(others: Team) -> None:
    """Do what process 0 hands out until it is done. Raises what a task cannot be done for."""
    for number, task in others.tasks():
        _DO[task["do"]](others, number, task)
