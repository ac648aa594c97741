"""Marks on turns that say what is learned, as the frameworks have them that people's files were made for.

    train, training, trainable          Axolotl and others       true: learned
    loss                                ms-swift, XTuner         true: learned
    weight                              OpenAI, Mistral          1: learned, 0: not
    loss_mask, step_loss_mask           slime, Megatron          1: learned, 0: not (what the loss is multiplied by)
    loss_scale, loss_weight             ms-swift                 1: learned, 0: not
    masked                              torchtune                true: not learned
    train_detail, training_detail       Axolotl                  which characters are learned
    mask                                of both meanings: told by the turns that are no answers, see `mask_of_learned`

A mark is a boolean, or 0 or 1; nothing in between can be honoured. Without a mark an answer is learned.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from g2is.errors import InputError
from g2is.examples.conversation import ASSISTANT
from g2is.examples.values import json_type

_LEARNED_IF_TRUE = (
    *("train", "training", "trainable", "loss", "weight"),
    *("loss_mask", "step_loss_mask", "loss_scale", "loss_weight"),
)
_LEARNED_IF_FALSE = ("masked",)
_DETAILS = ("train_detail", "training_detail")
MARKS = frozenset((*_LEARNED_IF_TRUE, *_LEARNED_IF_FALSE, *_DETAILS, "mask"))
_LOOKS_LIKE_A_MARK = re.compile(
    r"train|loss|mask|weight|learn|supervis|ignore|skip|exclu|context|labels", re.IGNORECASE
)


def looks_like_a_mark(key: str, value: Any) -> bool:
    """Whether a key that is not known may say what is learned."""
    return isinstance(value, bool | int | float | list) and _LOOKS_LIKE_A_MARK.search(key) is not None


def flag_of(value: Any, place: str) -> bool:
    """Return what a mark says. Raises InputError if it is neither a boolean nor 0 nor 1."""
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    found = repr(value) if isinstance(value, int | float | str) else json_type(value)
    raise InputError(
        f"expected true or false (or 1 or 0) in `{place}`, found {found}: a turn is learned or it is not. Write one of"
        " these, or leave it out"
    )


def mask_of_learned(turns: Sequence[tuple[str, Mapping[str, Any], str]]) -> bool:
    """The value of `mask` that says: learned. `turns` are (role, turn, place).

    In some files a mask of 1 keeps a turn's loss, in others it masks the turn out. Turns that are no answers tell,
    since they are never learned: theirs is the other value. Where they have none, 0 and 1 are what the loss is
    multiplied by. Raises InputError where this cannot be told.
    """
    others = {
        flag_of(turn["mask"], f"{place}.mask"): place for role, turn, place in turns if role != ASSISTANT and _has(turn)
    }
    if len(others) > 1:
        raise InputError(
            f"expected one value of `mask` on all turns that are no answers, found true in `{others[True]}` and false"
            f" in `{others[False]}`; write `loss` instead (true: learned)"
        )
    if others:
        return not next(iter(others))
    for role, turn, place in turns:
        if role == ASSISTANT and isinstance(turn.get("mask"), bool):
            raise InputError(
                f"expected a mark whose meaning is known in `{place}`, found `mask`: some files mean by true that a"
                " turn is learned, others that it is masked out. Rename it to `loss` (true: learned) or to `masked`"
                " (true: not learned)"
            )
    return True


def learned_part(
    turn: Mapping[str, Any], role: str, place: str, content: str, mask_if_learned: bool
) -> tuple[bool, str] | None:
    """What the marks of `turn` say: whether it is learned, and the beginning of `content` that is not; None: nothing.

    Raises InputError where marks contradict each other, or say what cannot be honoured.
    """
    said: dict[str, bool] = {}
    for key in _LEARNED_IF_TRUE:
        if turn.get(key) is not None:
            said[key] = flag_of(turn[key], f"{place}.{key}")
    for key in _LEARNED_IF_FALSE:
        if turn.get(key) is not None:
            said[key] = not flag_of(turn[key], f"{place}.{key}")
    if _has(turn):
        said["mask"] = flag_of(turn["mask"], f"{place}.mask") == mask_if_learned
    if len(set(said.values())) > 1:
        raise InputError(f"expected marks that agree in `{place}`, found {', '.join(said)}, which do not; keep one")
    prefill = ""
    learned = next(iter(said.values()), None)
    details = [key for key in _DETAILS if turn.get(key) is not None]
    if details and learned is not False:
        learned, prefill = _detail(turn[details[0]], f"{place}.{details[0]}", content)
    if learned and role != ASSISTANT:
        raise InputError(
            f"expected only assistant turns to be learned, found {(*said, *details)[0]} in `{place}` ({role}), which"
            " says that it is; set it to false, or leave it out"
        )
    return None if learned is None else (learned, prefill)


def _has(turn: Mapping[str, Any]) -> bool:
    return turn.get("mask") is not None


def _detail(value: Any, place: str, content: str) -> tuple[bool, str]:
    """Axolotl's: characters from `begin_offset` to and with `end_offset` that are learned; all others are not."""
    if not isinstance(value, list):
        raise InputError(
            f"expected a list of {{begin_offset, end_offset, train}} in `{place}`, found {json_type(value)}"
        )
    learned = [False] * len(content)
    for index, part in enumerate(value):
        at = f"{place}[{index}]"
        begin, end = (part.get("begin_offset"), part.get("end_offset")) if isinstance(part, dict) else (None, None)
        if not isinstance(begin, int) or not isinstance(end, int) or part.get("train") is None:
            raise InputError(f"expected {{begin_offset, end_offset, train}} in `{at}`, found {json_type(part)}")
        if not 0 <= begin <= end <= len(content):
            raise InputError(
                f"expected offsets of the {len(content)} characters of its text in `{at}`, found {begin} to {end}"
            )
        if flag_of(part["train"], f"{at}.train"):
            learned[begin : end + 1] = [True] * len(learned[begin : end + 1])
    if True not in learned:
        return False, ""
    start = learned.index(True)
    if not all(learned[start:]):
        raise InputError(
            f"expected `{place}` to say that the turn is learned, or the end of it, found other parts of it; make what"
            " comes before a turn of its own, or give offsets up to the last character"
        )
    return True, content[:start]
