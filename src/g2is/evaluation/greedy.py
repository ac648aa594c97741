"""The most likely continuation of several prompts at once. Whoever has ended leaves the batch, where a model lets it.

A batch goes on until its longest answer ends, and the cache of its attention holds a row for each prompt until then. So
it is asked for in parts: after each, rows that have ended are taken out of the cache, and the others go on from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from g2is.errors import ModelError, first_line, tells_of_memory
from g2is.model.batches import PAD_ID, pad_batch

_PART = 16  # new tokens after which rows may leave
_ROUNDING = 0.05  # of the logits' length, in bfloat16 too; a model that runs over padding is far off
_PROBED = 4  # new tokens that tell whether a model answers in batches as it does one by one

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
class Batching:
    """Whether a model goes on from a prompt the same `together` with a longer one, and when such a row `leaves`."""

    together: bool
    leaves: bool


@dataclass(frozen=True)
class _Open:
    """Prompts with what was added to them: (B, T) ids and mask, left-padded; the cache of all but the last token."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    cache: dict[str, Any]

    def after(self, found: Any, stay: torch.Tensor) -> "_Open":
        """What goes on: the rows that `stay` (B,) bool."""
        name = _cache_in(found)
        cache, rows, added = found[name], stay.nonzero()[:, 0], found.sequences.shape[1] - self.input_ids.shape[1]
        if len(rows) < len(stay):
            cache.batch_select_indices(rows.cpu())  # which serves layers on any device
        mask = torch.nn.functional.pad(self.attention_mask, (0, added), value=1)
        return _Open(found.sequences[rows], mask[rows], {name: cache})


def continued(model: Any, prompts: Sequence[np.ndarray], room: int, ends: list[int], leaves: bool) -> np.ndarray:
    """The greedy continuation of each of B prompts up to an end and padding after it, or `room` tokens: (B, T) int."""
    tokens, rows = np.full((len(prompts), room), PAD_ID, np.int64), np.arange(len(prompts))
    part, done, open_ = _PART if leaves and ends else room, 0, _opened(model, prompts)
    while done < room and len(rows):
        found = _go_on(model, open_, min(part, room - done), ends)
        new = found.sequences[:, open_.input_ids.shape[1] :]
        tokens[rows, done : done + new.shape[1]] = new.cpu().numpy()
        done += part
        if done < room:
            stay = ~torch.isin(new, torch.tensor(ends, device=new.device)).any(1)
            open_, rows = open_.after(found, stay), rows[stay.cpu().numpy()]
    return tokens


def batching_of(model: Any) -> Batching:
    """How a model goes on from several prompts: some recurrent ones run over padding, or mix up a batch's states.

    Asked of the model itself, with prompts of ours, since nothing else tells. Raises ModelError if it cannot answer at
    all.
    """
    longer = np.arange(1, 10, dtype=np.int32) % model.get_input_embeddings().num_embeddings
    try:
        alone = _logits(_go_on(model, _opened(model, [longer[:5]]), _PROBED, [], output_logits=True))
    except Exception as error:  # of the model's own code, before any row has been asked
        if tells_of_memory(error):
            raise
        raise ModelError(
            f"expected a model that writes answers, found that {type(model).__name__} of this transformers cannot:"
            f" {first_line(error)}; measure its loss alone: --set evaluation.generate=false"
        ) from None
    both = _opened(model, [longer[:5], longer])
    try:
        together = _is_close(alone, _logits(_go_on(model, both, _PROBED, [], output_logits=True)))
    except (RuntimeError, ValueError, IndexError):  # of states that are kept for one row alone
        return Batching(together=False, leaves=False)
    return Batching(together, together and _leaves(model, both, alone))


def _leaves(model: Any, both: _Open, alone: torch.Tensor) -> bool:
    """Whether the first of two prompts goes on the same when the other has left after half of what is probed."""
    from transformers.cache_utils import DynamicLayer

    first = _go_on(model, both, _PROBED // 2, [])
    cache = first.get(_cache_in(first))  # none, of a model that keeps none
    if not all(type(layer) is DynamicLayer for layer in getattr(cache, "layers", [None])):
        return False  # windows and states of other kinds: a probe as short as this does not fill them
    open_ = both.after(first, torch.tensor([True, False], device=both.input_ids.device))
    try:
        rest = _logits(_go_on(model, open_, _PROBED - _PROBED // 2, [], output_logits=True))
    except (RuntimeError, ValueError, IndexError, TypeError):  # of code that does not go on from a cache
        return False
    return _is_close(alone[_PROBED // 2 :], rest)


def _cache_in(found: Any) -> str:
    """What the cache is called: it was renamed in transformers 5."""
    return "cache" if "cache" in found else "past_key_values"


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).norm() <= _ROUNDING * one.norm())


def _logits(found: Any) -> torch.Tensor:
    """Logits (T, V) of the first prompt's next tokens."""
    return torch.stack([step[0].float() for step in found.logits])


def _opened(model: Any, prompts: Sequence[np.ndarray]) -> _Open:
    padded = pad_batch([(prompt, np.zeros(len(prompt), bool)) for prompt in prompts], model.device, side="left")
    return _Open(padded.input_ids, padded.attention_mask, {})


def _go_on(model: Any, open_: _Open, room: int, ends: list[int], **more: Any) -> Any:
    """What transformers adds to each row: `room` tokens, or up to one that ends it."""
    return model.generate(
        input_ids=open_.input_ids,
        attention_mask=open_.attention_mask,
        max_new_tokens=room,
        eos_token_id=ends or None,
        pad_token_id=PAD_ID,
        return_dict_in_generate=True,
        **open_.cache,
        **_GREEDY,
        **more,
    )
