"""The loss of each example of a batch."""

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from g2is.model.batches import IGNORED_LABEL, Batch
from g2is.model.devices import is_spread


def example_losses(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy (nats) of each example over its learned tokens, (B,) float32, with its autograd graph."""
    losses = token_losses(model, batch)
    return losses.sum(1) / (batch.labels[:, 1:] != IGNORED_LABEL).sum(1)


def token_losses(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross-entropy (nats) of each learned token, and 0 for any other, (B, P) float32, with its autograd graph.

    Logits are computed only at the P positions where some example of the batch predicts a learned token, if the
    model's forward can be told so. What a model adds to its training loss (a router's balance, say) is left out.
    """
    from peft import PeftModel  # which a command that computes no loss need not import

    targets = batch.labels[:, 1:]
    positions = (targets != IGNORED_LABEL).any(0).nonzero()[:, 0]
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    takes = forward_parameters(inner.get_base_model() if isinstance(inner, PeftModel) else inner)
    arguments: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "use_cache": False,
    }
    if "position_ids" in takes:
        arguments["position_ids"] = batch.position_ids
    if "logits_to_keep" in takes:
        # of a model that is spread: the states that they choose from are on another device, and main memory serves any
        kept = positions.cpu() if is_spread(inner) else positions
        logits = model(**arguments, logits_to_keep=kept).logits
    else:
        logits = model(**arguments).logits[:, positions]
    targets = targets[:, positions]
    losses = F.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED_LABEL, reduction="none"
    )
    return losses.view(targets.shape)


def forward_parameters(model: nn.Module) -> frozenset[str]:
    """The names of the arguments that a model's forward takes."""
    return frozenset(inspect.signature(model.forward).parameters)
