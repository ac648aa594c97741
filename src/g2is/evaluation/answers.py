"""Loss and greedy answers of a model on tokenised examples.

An example asks for its last answer (`questions.py`): the prompt is all before that answer's first learned token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from g2is.errors import ModelError, first_line, tells_of_memory
from g2is.evaluation.metrics import exact_match
from g2is.evaluation.questions import Asked, Question
from g2is.model.batches import PAD_ID, Row, pad_batch, plan_batches
from g2is.model.folder import context_length
from g2is.model.losses import example_losses
from g2is.progress import Progress

_ROUNDING = 0.05  # of the logits' length, in bfloat16 too; a model that runs over padding is far off
_PROBED = 4  # new tokens that tell whether a model answers in batches as it does one by one
_SPARE_TOKENS = 8  # an answer may run on this far beyond the longest expected one before it is cut off

# What a model's own generation_config.json may say otherwise: the answer is the most likely token at each step.
_GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": None,  # both as numbers have transformers warn at each batch
}


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
    alike = room
    if asked is not None and not answers_in_batches(model):
        alike = np.where(room > 0, 1 + np.arange(len(rows)), 0)  # each by itself
    for batch in _plan(lengths, alike, batch_tokens):
        if measure_loss:
            padded = pad_batch([rows[i] for i in batch], model.device)
            losses[batch] = example_losses(model, padded).double().cpu().numpy()
        if asked is not None and room[batch[0]]:
            generated = _generate(model, [prompts[i] for i in batch], int(room[batch[0]]), asked.ends)
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


def answers_in_batches(model: Any) -> bool:
    """Whether the model goes on from a prompt the same in a batch with a longer one: some recurrent ones do not.

    Those run over padding, or mix up the states of a batch. Asked of the model itself, with prompts of ours, since
    nothing else tells. Raises ModelError if it cannot answer at all.
    """
    longer = np.arange(1, 10, dtype=np.int32) % model.get_input_embeddings().num_embeddings
    try:
        alone = _first_logits(model, [longer[:5]])
    except Exception as error:  # of the model's own code, before any row has been asked
        if tells_of_memory(error):
            raise
        raise ModelError(
            f"expected a model that writes answers, found that {type(model).__name__} of this transformers cannot:"
            f" {first_line(error)}; measure its loss alone: --set evaluation.generate=false"
        ) from None
    try:
        together = _first_logits(model, [longer[:5], longer])
    except (RuntimeError, ValueError, IndexError):  # of states that are kept for one row alone
        return False
    return bool((alone - together).norm() <= _ROUNDING * alone.norm())


def _first_logits(model: Any, prompts: Sequence[np.ndarray]) -> torch.Tensor:
    """Logits (T, V) of the first prompt's next tokens."""
    asked = _asked(model, prompts, _PROBED, [])
    found = model.generate(**asked, output_logits=True, return_dict_in_generate=True)
    return torch.stack([step[0].float() for step in found.logits])


def _plan(lengths: np.ndarray, alike: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Batches of rows of one number in `alike`: as many new tokens, since a batch is generated as one."""
    batches = []
    for size in np.unique(alike):
        members = np.flatnonzero(alike == size)
        batches += [members[batch] for batch in plan_batches(lengths[members], batch_tokens)]
    return batches


def _generate(model: Any, prompts: Sequence[np.ndarray], room: int, ends: list[int]) -> np.ndarray:
    """The greedy continuation of each of B prompts up to an end and padding after it, or `room` tokens: (B, T) int."""
    asked = _asked(model, prompts, room, ends)
    generated = model.generate(**asked)
    tokens: np.ndarray = generated[:, asked["input_ids"].shape[1] :].cpu().numpy()
    return tokens


def _asked(model: Any, prompts: Sequence[np.ndarray], room: int, ends: list[int]) -> dict[str, Any]:
    """How transformers is asked for the greedy continuation of prompts."""
    padded = pad_batch([(prompt, np.zeros(len(prompt), bool)) for prompt in prompts], model.device, side="left")
    return {
        "input_ids": padded.input_ids,
        "attention_mask": padded.attention_mask,
        "max_new_tokens": room,
        "eos_token_id": ends or None,
        "pad_token_id": PAD_ID,
        **_GREEDY,
    }
