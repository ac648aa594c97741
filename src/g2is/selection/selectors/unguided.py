"""Selectors that look at nothing: a random draw, and all rows."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from g2is.methods import Section, SelectorKind
from g2is.selection.problem import Choice, Problem
from g2is.store.draw import random_order


class RandomSettings(Section):
    """Which draw it is."""

    seed: int = Field(0, ge=0, description="of the draw")


def random(problem: Problem) -> Iterator[Choice]:
    """Rows in a random order that the seed and their content decide; matrices' rows, that their numbers do."""
    seed, keys = problem.settings.part(RandomSettings).seed, problem.keys
    if keys is None:
        order = np.random.default_rng(seed).permutation(len(problem.open))
    else:
        order = random_order(keys, seed, "selection")
    for row in order.tolist():
        yield Choice(row)


def all_rows(problem: Problem) -> Iterator[Choice]:
    """Every row, in the pool's order."""
    for row in range(len(problem.open)):
        yield Choice(row)


RANDOM = SelectorKind(
    line="rows drawn at random",
    source="the usual baseline",
    needs=lambda _: "nothing",
    settings=RandomSettings,
    select=random,
)

ALL = SelectorKind(
    line="every row",
    source="the usual baseline",
    needs=lambda _: "nothing",
    select=all_rows,
    takes_all=True,
)
