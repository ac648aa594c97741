"""Loss and greedy answers of a model on tokenised examples.

An example asks for its last answer: the prompt is everything before that answer's first learned token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from g2is.model.batches import PAD_ID, Row, pad_batch, plan_batches
from g2is.model.losses import example_losses
from g2is.progress import Progress

_SPARE_TOKENS = 8  # an answer may run on this far beyond the longest expected one before it is cut off


@dataclass(frozen=True)
class Answers:
    """What a model makes of (N,) examples.

    `losses` (N,) float64 mean cross-entropy over the learned tokens, nats; `num_learned` (N,) int64 of those tokens;
    `expected` and `given` the last answers as text.
    """

    losses: np.ndarray
    num_learned: np.ndarray
    expected: Sequence[str]
    given: Sequence[str]

    @property
    def loss(self) -> float:
        """Mean loss per learned token over all examples."""
        return float((self.losses * self.num_learned).sum() / self.num_learned.sum())

    @property
    def is_exact(self) -> np.ndarray:
        """(N,) bool: the answer given is the one expected, but for space around it."""
        return np.array([a.strip() == b.strip() for a, b in zip(self.expected, self.given, strict=True)])


@torch.no_grad()
def answer(model: Any, tokenizer: Any, rows: Sequence[Row], batch_tokens: int, progress: Progress) -> Answers:
    """Loss of each example and the model's own greedy answer to it. `model` is in eval mode; `progress` counts rows."""
    losses, device = np.zeros(len(rows)), next(model.parameters()).device
    for batch in plan_batches(np.array([len(ids) for ids, _ in rows]), batch_tokens):
        losses[batch] = example_losses(model, pad_batch([rows[i] for i in batch], device)).double().cpu().numpy()
    asked = [_last_answer(row) for row in rows]
    given = _generate(model, tokenizer, asked, batch_tokens, progress)
    return Answers(
        losses=losses,
        num_learned=np.array([int(mask.sum()) for _, mask in rows]),
        expected=[tokenizer.decode(expected, skip_special_tokens=True) for _, expected in asked],
        given=[tokenizer.decode(tokens, skip_special_tokens=True) for tokens in given],
    )


def _last_answer(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """The prompt's and the last answer's tokens."""
    ids, mask = row
    end = int(np.flatnonzero(mask)[-1]) + 1
    before = np.flatnonzero(~mask[:end])
    start = int(before[-1]) + 1 if len(before) else 0
    return ids[:start], ids[start:end]


def _generate(
    model: Any,
    tokenizer: Any,
    asked: Sequence[tuple[np.ndarray, np.ndarray]],
    batch_tokens: int,
    progress: Progress,
) -> list[np.ndarray]:
    """The greedy continuation of each prompt, up to whatever ends the expected answers, or EOS."""
    ends = sorted({int(expected[-1]) for _, expected in asked} | {tokenizer.eos_token_id} - {None})
    given: list[np.ndarray] = [np.zeros(0, np.int64)] * len(asked)
    lengths = np.array([len(prompt) + len(expected) + _SPARE_TOKENS for prompt, expected in asked])
    done = 0
    for batch in plan_batches(lengths, batch_tokens):
        prompts = pad_batch([(asked[i][0], np.zeros(len(asked[i][0]), bool)) for i in batch], model.device, side="left")
        generated = model.generate(
            input_ids=prompts.input_ids,
            attention_mask=prompts.attention_mask,
            max_new_tokens=max(len(asked[i][1]) for i in batch) + _SPARE_TOKENS,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=PAD_ID,
        )
        for i, tokens in zip(batch, generated[:, prompts.input_ids.shape[1] :].cpu().numpy(), strict=True):
            stops = np.flatnonzero(np.isin(tokens, ends))
            given[i] = tokens[: stops[0] + 1] if len(stops) else tokens
        done += len(batch)
        progress(done, len(asked))
    return given
