"""Canonical names of trainable parameters: the same whoever wrapped the model."""

import re
from collections.abc import Sequence

from torch import nn

from g2is.errors import ModelError

# What wrappers add to a parameter's name: DDP and Accelerate, torch.compile, PEFT's model, PEFT's adapter name.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.|^base_model\.model\.")
_ADAPTER = re.compile(r"(\.(?:lora_[A-Za-z_]+|modules_to_save))\.default(?=\.|$)")


def canonical_name(name: str) -> str:
    """The parameter's name without what DDP, torch.compile and PEFT put around it.

    >>> canonical_name("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight")
    'model.layers.0.self_attn.q_proj.lora_A.weight'
    """
    return _ADAPTER.sub(r"\1", _WRAPPERS.sub("", _WRAPPERS.sub("", name)))


def without_gradient(names: Sequence[str]) -> ModelError:
    """The error for trainable parameters that the loss does not reach."""
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return ModelError(
        f"expected every trainable parameter to get a gradient, found {len(names)} without: {listed}. The model does"
        " not use these layers for text: leave them out with warmup.lora.target_modules (gradients.parameters: lora)"
    )


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by canonical name, sorted by it.

    Raises ModelError if there are none, or if two share a canonical name.
    """
    named = [(canonical_name(name), p) for name, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise ModelError("expected a model with trainable parameters (an adapter), found every parameter frozen")
    parameters = dict(sorted(named, key=lambda item: item[0]))
    if len(parameters) != len(named):
        names = [name for name, _ in named]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ModelError(f"expected distinct canonical parameter names, found twice: {', '.join(twice[:5])}")
    return parameters
