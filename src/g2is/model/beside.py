"""What another process than 0 does in a training of several: its share of each step. It keeps nothing."""

from typing import Any

from g2is.config import TuningConfig
from g2is.machine.ranks import Team
from g2is.model.all_linear import make_trainable
from g2is.model.folder import find_model, resolve_device
from g2is.model.together import joined
from g2is.model.trainer import take_steps


def train_beside(others: Team, number: int, task: dict[str, Any]) -> None:
    """Do this process's share of the training that process 0 handed out as `task` `number`.

    Raises ModelError where the model cannot be loaded here, and as `train_adapter`.
    """
    with joined(others, number, task) as training:
        assert training.base is not None
        config = training.config
        model = find_model(training.base).load(resolve_device(task["device"]))
        section = "tuning" if isinstance(config, TuningConfig) else "warmup"
        trained = make_trainable(model, training.parameters, config.lora, config.seed, section, to_train=True)
        others.ready(number)
        take_steps(training, trained, lambda done, total: None)
