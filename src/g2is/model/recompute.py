"""Activation checkpointing: of each block its input alone is kept for the backward pass, which computes the rest anew.

It is done around the blocks themselves, in training and out of it: what transformers brings does it in training alone,
and gradients of examples are taken with dropout off. Computing anew gives the same numbers, dropout included, whose
random numbers are set back for it (Chen et al., arXiv 1604.06174; torch.utils.checkpoint without reentry).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from g2is.errors import ModelError
from g2is.model.layers import blocks_of


def recompute_blocks(model: nn.Module) -> None:
    """Let every block of `model` be computed anew in the backward pass. Raises ModelError if it has none."""
    blocks = {id(block): block for _, block in blocks_of(model)}  # one may stand in several places
    if not blocks:
        raise ModelError(
            f"model.activation_checkpointing: expected blocks, a list of layers in which tokens meet, found none in"
            f" {type(model).__name__}; leave the setting out"
        )
    for block in blocks.values():
        block.forward = partial(_recomputed, block.forward)


def _recomputed(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)
