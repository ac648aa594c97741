"""The stages of a run by their ids, under which summary.json keeps their seconds.

An id stays what it is. A stage's title is for people: it may say more, and may be worded anew.
"""

from enum import StrEnum


class Stage(StrEnum):
    """A stage of a run; the value is its id."""

    TAKE_ADAPTER = "take adapter"
    WARM_UP = "warm up"
    TUNE_ON_TARGET = "tune on target"
    GRADIENTS_OF_TARGET = "gradients of target"
    GRADIENTS_OF_POOL = "gradients of pool"
    ROWS_OF_TARGET = "rows of target"
    ROWS_OF_POOL = "rows of pool"
    SECOND_MOMENT = "second moment"
    READ_POOL = "read pool"
    READ_GRADIENTS = "read gradients"
    READ_ROWS = "read rows"
    READ_TEXTS = "read texts"
    WALK = "walk"
    SELECT = "select"
    EXPORT = "export"


# What a pool's representation costs, whatever is selected by it, and what each selection by it costs.
OF_REPRESENTING = (Stage.WARM_UP, Stage.TUNE_ON_TARGET, Stage.GRADIENTS_OF_POOL, Stage.ROWS_OF_POOL)
OF_SELECTING = (Stage.SECOND_MOMENT, Stage.READ_GRADIENTS, Stage.READ_ROWS, Stage.WALK, Stage.SELECT)

# Summaries were once kept by titles: how those of rows began, built-in ones' and "NAME rows" of a user's own.
_ONCE = ("hidden states", "embeddings", "terms")


def stage_id(name: str) -> str:
    """The id of what a summary calls `name`."""
    what, _, kind = name.rpartition(" of ")
    if kind in ("target", "pool") and (what in _ONCE or what.endswith(" rows")):
        return Stage(f"rows of {kind}")
    return name
