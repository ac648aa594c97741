"""Columns of a row that change what it means, and that cannot be honoured: refused by name, with the way out."""

import math
from collections.abc import Container, Mapping
from typing import Any

from g2is.errors import InputError
from g2is.examples.turns import MEDIA, ROLE_OF
from g2is.examples.values import is_absent

_PREFERRED = ("chosen", "preferred_output")
_REJECTED = ("rejected", "rejected_response", "rejected_messages", "non_preferred_output")
# Flags and weights by turn or by token, as frameworks have them beside a conversation; `loss_mask` is read.
_BY_TURN = ("loss_masks", "loss_weights", "loss_weight", "loss_scale", "turn_mask", "turn_weights", "message_weights")
_LABELS = ("label", "kto_tag")


def check_row(row: Mapping[str, Any], named: Container[str], answer: str) -> set[str]:
    """Return the columns of `row` beside the layout's that are understood: they say what is done anyway.

    `named` are the columns that the user mapped; `answer` is the one that the layout's answer stands in: if the user
    mapped it, that says which of a preference pair is learned. Raises InputError naming what cannot be honoured.
    """
    understood: set[str] = set()
    for column, value in row.items():
        if is_absent(value):
            continue
        if column in MEDIA:
            raise InputError(
                f"expected text alone, found `{column}`, which a text model cannot see; leave such rows out"
            )
        if column in _REJECTED and answer not in named:
            _refuse_pair(row, column)
        if column in _LABELS and _is_flag(value):
            if _is_false(value):
                raise InputError(
                    f"expected rows to learn, found `{column}` = {value}, which says that the answer is bad (KTO);"
                    " leave such rows out"
                )
            understood.add(column)
        elif column in ("train", "trainable") and (_is_flag(value) or _number(value) in (0, 1)):
            if _is_false(value) or _number(value) == 0:
                raise InputError(f"expected rows to learn, found `{column}` = {_shown(value)}; leave such rows out")
            understood.add(column)
        elif column == "weight" and _number(value) is not None:
            if _number(value) != 1:
                raise InputError(
                    f"expected rows that count once, found `weight` = {value}: rows are not weighted. Leave the column"
                    " out, or call it otherwise if it means something else"
                )
            understood.add(column)
        elif column == "mask" and isinstance(value, str):  # NeMo's: the role that is not learned
            if ROLE_OF.get(value.lower()) != "user":
                raise InputError(f"expected only assistant turns to be learned, found `mask` = {value!r}; leave it out")
            understood.add(column)
        elif column in _BY_TURN or (column == "mask" and isinstance(value, list)):
            raise InputError(
                f"expected one flag for each turn in `loss_mask` (1: learned), found `{column}`; rename it if that is"
                " what it holds, else leave it out"
            )
        elif column == "functions":
            raise InputError("expected tools in `tools`, found `functions`; name them with --column tools=functions")
    return understood


def check_pair(row: Mapping[str, Any]) -> None:
    """Raise InputError if a row of no layout is a preference pair."""
    column = next((column for column in _REJECTED if not is_absent(row.get(column))), None)
    if column is not None:
        _refuse_pair(row, column)


def _refuse_pair(row: Mapping[str, Any], rejected: str) -> None:
    preferred = next((column for column in _PREFERRED if not is_absent(row.get(column))), None)
    if preferred is None:
        way_out = (
            f"leave `{rejected}` out, or name the column to learn with --column (such as --column messages=messages)"
        )
    else:
        whole = isinstance(row[preferred], list) and len(row[preferred]) > 1
        way_out = f"say which to learn, such as --column {'messages' if whole else 'completion'}={preferred}"
    pair = f"`{preferred}` and `{rejected}`" if preferred else f"`{rejected}`"
    raise InputError(f"expected an answer to learn, found a preference pair ({pair}), which is not compared; {way_out}")


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


def _is_false(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.lower() == "false")


def _number(value: Any) -> float | None:
    """The number that a value is, or that its text says, as all of a CSV file are; None if it is none."""
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            return None
        return found if math.isfinite(found) else None  # "nan" is how some write that there is none
    return value if isinstance(value, int | float) else None


def _shown(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
