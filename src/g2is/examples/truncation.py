"""Shorten an over-long example, so that what is left is still learned from a context."""

from typing import Literal

import numpy as np


def shorten(
    input_ids: np.ndarray,
    label_mask: np.ndarray,
    max_length: int,
    truncation: Literal["prompt-start", "answer-end"],
    keep_first: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and mask, both (T,), with T at most `max_length`.

    `answer-end` cuts the end. `prompt-start` drops what comes after the last answer, then the front (but with
    `keep_first` not the BOS): the last answers stay whole, and an answer that loses its beginning is no longer
    learned. If the last answer alone is too long, its end is cut, and one token of context is kept before it.
    """
    if len(input_ids) <= max_length:
        return input_ids, label_mask
    learned = np.flatnonzero(label_mask)
    if truncation == "answer-end" or len(learned) == 0:
        return input_ids[:max_length], label_mask[:max_length]
    head = int(keep_first)
    room = max_length - head
    end = int(learned[-1]) + 1
    gaps = np.flatnonzero(np.diff(learned) > 1)
    last_answer = int(learned[gaps[-1] + 1] if len(gaps) else learned[0])
    start = max(head, min(end - room, last_answer - 1))
    end = min(end, start + room)
    kept = np.r_[0:head, start:end]
    ids, mask = input_ids[kept], label_mask[kept]
    if start > head:
        # Here an answer may stand without its beginning, or with nothing before it that predicts it.
        first_context = start + int(np.argmin(label_mask[start:end]))
        mask[head : head + first_context - start] = False
    return ids, mask
