"""What of a model a run trains and takes gradients of: an adapter, or all linear layers."""

from torch import nn

from g2is.config import Config
from g2is.model.adapter import attach_adapter
from g2is.model.all_linear import make_all_trainable


def to_measure(model: nn.Module, config: Config, *, to_train: bool = False) -> nn.Module:
    """`model` with a fresh adapter, or its linear layers trainable, as `config` says; its weights may be on meta.

    `to_train` as `make_all_trainable`, whose errors it raises, and those of `attach_adapter`.
    """
    if config.gradients.parameters == "all":
        return make_all_trainable(model, to_train=to_train)
    return attach_adapter(model, config.warmup.lora, config.warmup.seed)
