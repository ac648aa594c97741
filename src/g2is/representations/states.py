"""The position-weighted mean of a model's last hidden states."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from g2is.errors import ModelError
from g2is.machine.memory import batches_that_fit
from g2is.model.angles import length_of_other_angles
from g2is.model.batches import Batch, Row, pad_batch, plan_batches
from g2is.model.losses import forward_parameters

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def inner_model(model: "PreTrainedModel") -> nn.Module:
    """The model beneath the LM head. Raises ModelError if it cannot be told apart."""
    inner: nn.Module = model.base_model
    if inner is model:
        raise ModelError(
            f"{type(model).__name__}: expected a base model beneath the LM head, as transformers' classes have"
            " (base_model_prefix), found none. Choose another representation than hidden"
        )
    return inner


def weighted_states(
    inner: nn.Module, rows: Sequence[Row], batch_tokens: int, progress: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """The weighted means of `rows`, (R, hidden size) float32; batches are a pure function of lengths and budget.

    Raises ModelError if a batch does not fit in memory.
    """
    device = next(inner.parameters()).device
    apart = length_of_other_angles(inner.config)
    batches = plan_batches(np.array([len(ids) for ids, _ in rows]), batch_tokens, apart)
    means = []
    with batches_that_fit(batch_tokens):
        for chosen in batches:
            batch = pad_batch([rows[i] for i in chosen], device)
            means.append(weighted_mean(inner, batch).cpu().numpy())
            progress(int(batch.attention_mask.sum()))
    back = np.argsort(np.concatenate(batches))
    return np.concatenate(means)[back]


@torch.inference_mode()
def weighted_mean(inner: nn.Module, batch: Batch) -> torch.Tensor:
    """Σ_i w_i h_i over each example's tokens i = 1 … T, (B, hidden size) float32, w_i = i / Σ_j j.

    h is the last layer as transformers returns it, after the final norm. Padding, on either side, counts for nothing.
    """
    arguments: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "use_cache": False,
    }
    if "position_ids" in forward_parameters(inner):
        arguments["position_ids"] = batch.position_ids
    is_padding = batch.attention_mask == 0
    # zeros and not just a zero weight: what a model makes of padding may be NaN
    states = inner(**arguments).last_hidden_state.to(is_padding.device)  # of a model that is spread, from the last one
    states = states.float().masked_fill(is_padding[:, :, None], 0)
    weights = (batch.position_ids + 1).masked_fill(is_padding, 0).float()
    mean: torch.Tensor = torch.einsum("bt,bth->bh", weights / weights.sum(1, keepdim=True), states)
    return mean
