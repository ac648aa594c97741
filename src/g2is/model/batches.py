"""Which rows share a forward pass: a pure function of their lengths and the token budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

IGNORED_LABEL = -100
PAD_ID = 0  # masked, so any id serves; the tokenizer's own may lie beyond the embedding

Row = tuple[np.ndarray, np.ndarray]  # an example: input_ids (T,) int32, label_mask (T,) bool


@dataclass(frozen=True)
class Batch:
    """Examples padded to one length T.

    `input_ids`, `attention_mask`, `position_ids` are (B, T) int64; `labels` is (B, T) int64 with IGNORED_LABEL where
    nothing is learned. Padding may stand on either side: positions count from each row's first real token.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor


def nothing_learned(row: Row) -> Row:
    """The first token of a row, of which nothing is learned: what stands in where a batch must not be empty."""
    ids, learned = row
    return ids[:1], learned[:1] & False


def plan_batches(lengths: np.ndarray, batch_tokens: int, apart: int | None = None) -> list[np.ndarray]:
    """Cut rows, sorted by length, into batches of at most `batch_tokens` padded tokens.

    `lengths` is (R,) int. Returns index arrays that together hold each row once, the longest first, so that an
    out-of-memory shows at once. A row longer than the budget gets a batch of its own, and rows of more than `apart`
    tokens share none with shorter ones (`angles.py`).
    """
    order = np.lexsort((np.arange(len(lengths)), -lengths))
    num_longer = 0 if apart is None else int(np.count_nonzero(lengths > apart))
    batches, start = [], 0
    while start < len(order):
        size = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        if start < num_longer:
            size = min(size, num_longer - start)
        batches.append(order[start : start + size])
        start += size
    return batches


def pad_batch(
    rows: Sequence[Row], device: torch.device | str = "cpu", side: Literal["left", "right"] = "right"
) -> Batch:
    """Pad rows to the longest of them, on the right or left `side`."""
    longest = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), longest), PAD_ID, dtype=torch.int64)
    labels = torch.full_like(input_ids, IGNORED_LABEL)
    mask = torch.zeros_like(input_ids)
    for b, (ids, learned) in enumerate(rows):
        place = slice(0, len(ids)) if side == "right" else slice(longest - len(ids), longest)
        tokens = torch.from_numpy(ids.astype(np.int64))
        input_ids[b, place] = tokens
        labels[b, place] = torch.where(torch.from_numpy(learned), tokens, IGNORED_LABEL)
        mask[b, place] = 1
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    return Batch(*(tensor.to(device) for tensor in (input_ids, mask, positions, labels)))


def batches_of_step(batch_size: int, device_batch_size: int, num_processes: int = 1) -> tuple[int, int]:
    """Rows a training's forward pass has at most, and how many of these a process does in an optimizer step."""
    if num_processes == 1:  # the largest batch within the limit that divides the step's examples
        limit = min(batch_size, device_batch_size)
        batch = max(size for size in range(1, limit + 1) if batch_size % size == 0)
        return batch, batch_size // batch
    most = -(-batch_size // num_processes)  # rows of the process that has most
    num_batches = -(-most // device_batch_size)
    return -(-most // num_batches), num_batches
