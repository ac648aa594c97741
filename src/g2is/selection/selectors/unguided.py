"""Selectors that look at nothing: a random draw, and all rows."""

from collections.abc import Iterator

import numpy as np

from g2is.selection.problem import Choice, Problem


def random(problem: Problem) -> Iterator[Choice]:
    """Rows in a random order that the seed decides."""
    for row in np.random.default_rng(problem.settings.seed).permutation(len(problem.open)).tolist():
        yield Choice(row)


def all_rows(problem: Problem) -> Iterator[Choice]:
    """Every row, in the pool's order."""
    for row in range(len(problem.open)):
        yield Choice(row)
