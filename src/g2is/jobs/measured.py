"""What of a model a run trains and takes gradients of: an adapter, or all linear layers."""

from torch import nn

from g2is.config import Config
from g2is.model.all_linear import make_trainable


def to_measure(model: nn.Module, config: Config, *, to_train: bool = False) -> nn.Module:
    """`model` with a fresh adapter, or its linear layers trainable, as `config` says; its weights may be on meta.

    `to_train` as `make_all_trainable`, whose errors it raises, and those of `attach_adapter`.
    """
    warmup = config.warmup
    return make_trainable(model, config.gradients.parameters, warmup.lora, warmup.seed, to_train=to_train)
