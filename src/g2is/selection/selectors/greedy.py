"""Taking, again and again, the open row that is best together with those taken: the loop that joint selectors share."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from g2is.selection.choose import choose_best
from g2is.selection.problem import Choice, Problem
from g2is.selection.similarity import GRAIN, Floats, Rows


class Criterion(Protocol):
    """What every row is worth, given the rows added so far."""

    def screened(self, candidates: Rows) -> tuple[Floats, Floats]:
        """The value of each of `candidates` (n,), and the most by which it may differ from the exact one: (n,) both."""
        ...

    def judge(self, rows: Rows) -> Floats:
        """The exact value of each of `rows` (n,)."""
        ...

    def add(self, row: int) -> None:
        """Count `row` among those taken."""
        ...


def take_best(problem: Problem, criterion: Criterion) -> Iterator[Choice]:
    """Yield the open row of highest exact value until none is open; ties go to the lowest row."""
    while (candidates := np.flatnonzero(problem.open)).size:
        values, off = criterion.screened(candidates)
        contends = values + off + GRAIN >= (values - off).max()
        row = choose_best(
            candidates[contends],
            values[contends],
            float(off[contends].max()),
            lambda rows: (criterion.judge(rows), np.ones(len(rows), dtype=bool)),
        )
        assert row is not None  # every candidate qualifies
        yield Choice(row, float(criterion.judge(np.array([row]))[0]))
        if problem.taken and problem.taken[-1] == row:  # a quota may have refused it
            criterion.add(row)
