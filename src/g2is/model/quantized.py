"""Frozen weights rounded to 4 or 8 bits by bitsandbytes, and a model that computes with them.

A layer is y = x Ŵᵀ, its gradient δ Ŵ, where Ŵ are the rounded weights, read back in the type of x for each pass and
kept by none. So the gradient is exactly that of what was computed, on every device, in training and out of it.
bitsandbytes' own products would not do:

- Its product of 8 bits rounds x too, and takes the columns apart in which some token of the whole batch is large: an
  example's gradient would depend on which others share its batch. And its gradient is not that of the rounding.
- Its product of 4 bits packs weights anew in a pass without gradients, on CPUs that know bfloat16. Passes after it
  round x, and give x no gradient.

Rounded are the linear layers inside of a model's blocks, as QLoRA does (Dettmers et al., arXiv 2305.14314): NF4 in
groups of 64, their scales in 8 bits; or 8 bits with one scale a row of W. Not rounded are embeddings, the head, norms,
experts that lie in one fused parameter, and layers whose weight a model's code takes past the layer.
"""

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from g2is.config import Quantization
from g2is.errors import ModelError
from g2is.model.layers import is_linear, is_transposed, weights_taken
from g2is.model.settings_file import BITSANDBYTES, CONFIG

_LEAST = (0, 49)  # with 0.46 a checkpoint of 8 bits came out as noise, and nothing was said
_KINDS = ("Linear4bit", "Linear8bitLt")  # bitsandbytes' layers
_GROUP, _GROUP_OF_SCALES = 64, 256  # of NF4, and of its scales


@dataclass(frozen=True)
class Held:
    """What a model's frozen weights are held in: so many numbers rounded and not, and all of their bytes."""

    num_rounded: int
    num_plain: int
    num_bytes: int


def check_rounding(path: Path, kind: Quantization | None, by: str | None) -> None:
    """Raise ModelError where weights of the model at `path` cannot be rounded to a `kind`, or read back.

    `by` is what rounded the checkpoint's weights, if they are rounded.
    """
    if kind is not None and by is not None:
        raise ModelError(
            f"{path}: expected plain weights to round to {kind} (model.quantization), found a checkpoint that is"
            f" rounded ({by}). Leave the setting out, or name the model that it was made from"
        )
    if kind is not None or by == BITSANDBYTES:
        check_package(f"model.quantization {kind}" if kind else f"{path / CONFIG}, quantization_config")


def check_package(setting: str) -> None:
    """Raise ModelError, which begins with the `setting` that needs it, where bitsandbytes is not there, or too old."""
    try:
        package = importlib.import_module("bitsandbytes")
    except Exception as error:  # a library of its own that does not load, too
        raise ModelError(
            f"{setting}: expected the package bitsandbytes, which rounds weights, found it not to be imported"
            f" ({error}). Install it: pip install 'g2is[quantized]'"
        ) from None
    if tuple(map(int, package.__version__.split(".")[:2])) < _LEAST:
        raise ModelError(
            f"{setting}: expected bitsandbytes {'.'.join(map(str, _LEAST))} or newer, found {package.__version__},"
            " which reads some weights wrong that it rounded itself. Install another: pip install -U 'g2is[quantized]'"
        )


def layers_to_round(model: nn.Module) -> list[str]:
    """Paths of the layers of a `model`, not rounded yet, that are rounded; it may be on the meta device."""
    found = []
    for path, module in model.named_modules():
        if type(module) is not nn.Linear and not is_transposed(module):
            continue
        parent, _, name = path.rpartition(".")
        taken = weights_taken(model.get_submodule(parent))
        if _is_in_a_list(model, path) and taken is not None and name not in taken:
            found.append(path)
    return found


def bitsandbytes_config(kind: Quantization, model: nn.Module, dtype: torch.dtype) -> Any:
    """What transformers is told to round `model` with, which is on the meta device. Raises ModelError for no layers."""
    from transformers import BitsAndBytesConfig

    chosen = set(layers_to_round(model))
    if not chosen:
        raise ModelError(
            f"model.quantization: expected a model with linear layers in its blocks, found none in"
            f" {type(model).__name__} that can be rounded; leave the setting out"
        )
    kept = [path for path, module in model.named_modules() if _is_a_matrix(module) and path not in chosen]
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


def held(kind: Quantization, model: nn.Module, itemsize: int) -> Held:
    """What the weights of `model`, which is on the meta device, are held in; others have `itemsize` bytes a number."""
    rounded = [model.get_submodule(path).get_parameter("weight") for path in layers_to_round(model)]
    num_rounded = sum(weight.numel() for weight in rounded)
    num_plain = sum(parameter.numel() for parameter in model.parameters()) - num_rounded
    num_bytes = sum(_rounded_bytes(kind, weight.shape) for weight in rounded) + num_plain * itemsize
    return Held(num_rounded, num_plain, num_bytes)


def compute_by_reading_back(model: nn.Module, expected: Sequence[str] | None = None) -> None:
    """Let every rounded layer of a loaded `model` compute as this file says.

    Raises ModelError if other layers were rounded than `expected`.
    """
    found = dict(_rounded_layers(model))
    if expected is not None and (other := sorted(set(expected) ^ set(found))):
        raise ModelError(
            f"model.quantization: expected {len(expected)} layers to be rounded, found it otherwise for {len(other)}:"
            f" {', '.join(other[:5])}. This version of transformers rounds others; install one that g2is is tested with"
        )
    for layer in found.values():
        # a model that is spread has hooks around each layer's forward, which call what was there before them
        setattr(layer, "_old_forward" if hasattr(layer, "_hf_hook") else "forward", partial(_forward, layer))


def read_back(layer: nn.Module, dtype: torch.dtype) -> torch.Tensor:
    """Ŵ of a rounded layer, (outputs, inputs)."""
    from bitsandbytes import functional

    weight: Any = layer.weight
    if type(layer).__name__ == "Linear4bit":
        state = layer.quant_state if weight.quant_state is None else weight.quant_state
        values: torch.Tensor = functional.dequantize_4bit(weight.data, state)
    else:
        scales = weight.SCB if weight.SCB is not None else layer.state.SCB  # type: ignore[union-attr]
        values = functional.int8_vectorwise_dequant(weight.data, scales)
    return values.to(dtype)


class _Linear(torch.autograd.Function):
    """x Ŵᵀ + b. Ŵ is read back once more for the gradient: to keep it would take the memory that rounding saved."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bias: torch.Tensor | None, layer: nn.Module) -> torch.Tensor:
        ctx.layer = layer
        return F.linear(x, read_back(layer, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *deltas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        (delta,) = deltas
        of_bias = delta.flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        return delta @ read_back(ctx.layer, delta.dtype), of_bias, None


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    result: torch.Tensor = _Linear.apply(x, bias, layer)
    return result


def _rounded_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((path, layer) for path, layer in model.named_modules() if type(layer).__name__ in _KINDS)


def _is_a_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or is_linear(module)


def _is_in_a_list(model: nn.Module, path: str) -> bool:
    parts = path.split(".")
    return any(isinstance(model.get_submodule(".".join(parts[:i])), nn.ModuleList) for i in range(1, len(parts)))


def _rounded_bytes(kind: Quantization, shape: Sequence[int]) -> int:
    num = math.prod(shape)
    if kind == "int8":
        return num + 4 * shape[0]
    num_groups = -(-num // _GROUP)
    return -(-num // 2) + num_groups + 4 * -(-num_groups // _GROUP_OF_SCALES)
