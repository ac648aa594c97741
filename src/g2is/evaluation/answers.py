"""Loss and greedy answers of a model on tokenised examples.

An example asks for its last answer: the prompt is everything before that answer's first learned token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from g2is.evaluation.metrics import exact_match
from g2is.model.batches import PAD_ID, Row, pad_batch, plan_batches
from g2is.model.folder import context_length
from g2is.model.losses import example_losses
from g2is.progress import Progress

_SPARE_TOKENS = 8  # an answer may run on this far beyond the longest expected one before it is cut off

# What a model's own generation_config.json may say otherwise: the answer is the most likely token at each step.
_GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
}


@dataclass(frozen=True)
class Answers:
    """What a model makes of (N,) examples.

    `losses` (N,) float64 mean cross-entropy over the learned tokens, nats, NaN if not asked for; `num_learned` (N,)
    int64 of those tokens; `expected` and `given` the last answers as text, `given` empty if not asked for.
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
        return np.array([exact_match(b, [a]) == 1 for a, b in zip(self.expected, self.given, strict=True)], bool)


@torch.no_grad()
def answer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    batch_tokens: int,
    progress: Progress,
    *,
    measure_loss: bool = True,
    generate: bool = True,
    max_new_tokens: int | None = None,
) -> Answers:
    """Loss of each example and the model's own greedy answer to it. `model` is in eval mode; `progress` counts rows.

    An answer is cut off after `max_new_tokens` (default: the longest expected answer and a few more), or where the
    model's context ends; neither depends on `batch_tokens`.
    """
    losses = np.full(len(rows), np.nan)
    asked = [_last_answer(row) for row in rows]
    given: list[str] = [""] * len(rows) if generate else []
    room = _room(model, asked, max_new_tokens) if generate else np.zeros(len(rows), np.int64)
    ends = _ends(tokenizer, [expected for _, expected in asked]) if generate else []
    lengths = np.array([max(len(ids), len(asked[i][0]) + int(room[i])) for i, (ids, _) in enumerate(rows)])
    done = 0
    for batch in _plan(lengths, room, batch_tokens):
        if measure_loss:
            padded = pad_batch([rows[i] for i in batch], model.device)
            losses[batch] = example_losses(model, padded).double().cpu().numpy()
        if generate:
            texts = _generate(model, tokenizer, [asked[i][0] for i in batch], int(room[batch[0]]), ends)
            for i, text in zip(batch.tolist(), texts, strict=True):
                given[i] = text
        done += len(batch)
        progress(done, len(rows))
    return Answers(
        losses=losses,
        num_learned=np.array([int(mask.sum()) for _, mask in rows], np.int64),
        expected=[tokenizer.decode(expected, skip_special_tokens=True) for _, expected in asked],
        given=given,
    )


def _last_answer(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """The prompt's and the last answer's tokens."""
    ids, mask = row
    end = int(np.flatnonzero(mask)[-1]) + 1
    before = np.flatnonzero(~mask[:end])
    start = int(before[-1]) + 1 if len(before) else 0
    return ids[:start], ids[start:end]


def _room(model: Any, asked: Sequence[tuple[np.ndarray, np.ndarray]], max_new_tokens: int | None) -> np.ndarray:
    """(N,) int64, how many tokens each answer may have."""
    most = max_new_tokens or max((len(expected) for _, expected in asked), default=0) + _SPARE_TOKENS
    context = context_length(model.config)
    left = [most if context is None else min(most, max(1, context - len(prompt))) for prompt, _ in asked]
    return np.array(left, np.int64)


def _plan(lengths: np.ndarray, room: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Batches whose rows may all have as many new tokens, since a batch is generated as one."""
    batches = []
    for size in np.unique(room):
        members = np.flatnonzero(room == size)
        batches += [members[batch] for batch in plan_batches(lengths[members], batch_tokens)]
    return batches


def _ends(tokenizer: Any, expected: Sequence[np.ndarray]) -> list[int]:
    """The tokens that end an answer: EOS, special ones that end an expected answer, and one that can only be an end.

    A template may close its answers with an ordinary token: that is one which ends every expected answer and stands
    nowhere else in any. Other last tokens are words, which happen to be last where a template closes nothing or an
    answer was cut.
    """
    last = {int(tokens[-1]) for tokens in expected}
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    if len(last) == 1 and not any(last & set(tokens[:-1].tolist()) for tokens in expected):
        special |= last
    return sorted((last & special) | {tokenizer.eos_token_id} - {None})


def _generate(model: Any, tokenizer: Any, prompts: Sequence[np.ndarray], room: int, ends: list[int]) -> list[str]:
    """The greedy continuation of each prompt up to an end, or `room` tokens."""
    padded = pad_batch([(prompt, np.zeros(len(prompt), bool)) for prompt in prompts], model.device, side="left")
    generated = model.generate(
        input_ids=padded.input_ids,
        attention_mask=padded.attention_mask,
        max_new_tokens=room,
        eos_token_id=ends or None,
        pad_token_id=PAD_ID,
        **_GREEDY,
    )
    texts = []
    for tokens in generated[:, padded.input_ids.shape[1] :].cpu().numpy():
        stops = np.flatnonzero(np.isin(tokens, ends))
        texts.append(tokenizer.decode(tokens[: stops[0] + 1] if len(stops) else tokens, skip_special_tokens=True))
    return texts
