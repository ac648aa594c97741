"""Loss and greedy answers of a model on tokenised examples.

An example asks for its last answer (`questions.py`): the prompt is all before that answer's first learned token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from g2is.evaluation.greedy import Batching, batching_of, continued
from g2is.evaluation.metrics import exact_match
from g2is.evaluation.questions import Asked, Question
from g2is.model.angles import length_of_other_angles
from g2is.model.batches import Row, pad_batch, plan_batches
from g2is.model.folder import context_length
from g2is.model.losses import example_losses
from g2is.progress import Progress

_SPARE_TOKENS = 8  # an answer may run on this far beyond the longest expected one before it is cut off


@dataclass(frozen=True)
class Answers:
    """What a model makes of (N,) examples.

    `losses` (N,) float64 mean cross-entropy over the learned tokens, nats, NaN if not asked for; `num_learned` (N,)
    int64 of those tokens. `given` the model's own last answers as text, None for a row whose question was cut away, no
    text at all if not asked for; `final` the same without thoughts, which `right` is to be compared with.
    """

    losses: np.ndarray
    num_learned: np.ndarray
    right: Sequence[str]
    given: Sequence[str | None]
    final: Sequence[str | None]

    @property
    def loss(self) -> float:
        """Mean loss per learned token over all examples."""
        return float((self.losses * self.num_learned).sum() / self.num_learned.sum())

    @property
    def is_exact(self) -> np.ndarray:
        """(N,) bool: the answer given is the right one, but for space around it."""
        pairs = zip(self.right, self.final, strict=True)
        return np.array([given is not None and exact_match(given, [right]) == 1 for right, given in pairs], bool)


@torch.no_grad()
def answer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    questions: Sequence[Question],
    batch_tokens: int,
    progress: Progress,
    *,
    measure_loss: bool = True,
    generate: bool = True,
    max_new_tokens: int | None = None,
) -> Answers:
    """Loss of each example and the model's own greedy answer to it. `model` is in eval mode; `progress` counts rows.

    `questions` has an item for each row. An answer is cut off after `max_new_tokens` (default: the longest expected
    answer, whatever of it was kept, and a few more), or where the model's context ends; neither depends on
    `batch_tokens`.
    """
    losses = np.full(len(rows), np.nan)
    given: list[str | None] = [None] * len(rows) if generate else []
    final = list(given)
    asked = Asked(tokenizer, rows, questions) if generate else None
    room = np.zeros(len(rows), np.int64) if asked is None else _room(model, asked, questions, max_new_tokens)
    prompts = [np.zeros(0, np.int32)] * len(rows) if asked is None else asked.prompts
    lengths = np.array([max(len(ids), len(prompts[i]) + int(room[i])) for i, (ids, _) in enumerate(rows)])
    done = 0
    batching = Batching(together=True, leaves=False) if asked is None else batching_of(model)
    alike = room if batching.together else np.where(room > 0, 1 + np.arange(len(rows)), 0)  # each by itself
    if (apart := length_of_other_angles(model.config)) is not None:  # from there on each by itself, answers too
        alike = np.where(lengths > apart, alike.max(initial=0) + 1 + np.arange(len(rows)), alike)
    for batch in _plan(lengths, alike, batch_tokens):
        if measure_loss:
            padded = pad_batch([rows[i] for i in batch], model.device)
            losses[batch] = example_losses(model, padded).double().cpu().numpy()
        if asked is not None and room[batch[0]]:
            of_batch = [prompts[i] for i in batch]
            generated = continued(model, of_batch, int(room[batch[0]]), asked.ends, batching.leaves)
            for i, tokens in zip(batch.tolist(), generated, strict=True):
                given[i] = text = asked.text(tokens)
                final[i] = asked.final(i, text)
        done += len(batch)
        progress(done, len(rows))
    num_learned = np.array([int(mask.sum()) for _, mask in rows], np.int64)
    return Answers(losses, num_learned, [question.right for question in questions], given, final)


def _room(model: Any, asked: Asked, questions: Sequence[Question], max_new_tokens: int | None) -> np.ndarray:
    """(N,) int64, how many tokens each answer may have; 0 for a row that asks nothing."""
    is_asked = np.array([question.asked for question in questions], bool)
    most = max_new_tokens or int(asked.lengths[is_asked].max(initial=0)) + _SPARE_TOKENS
    context = context_length(model.config)
    left = [most if context is None else min(most, max(1, context - len(prompt))) for prompt in asked.prompts]
    return np.where(is_asked, np.array(left, np.int64), 0)


def _plan(lengths: np.ndarray, alike: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Batches of rows of one number in `alike`, such as that of new tokens, since a batch is generated as one."""
    batches = []
    for size in np.unique(alike):
        members = np.flatnonzero(alike == size)
        batches += [members[batch] for batch in plan_batches(lengths[members], batch_tokens)]
    return batches
