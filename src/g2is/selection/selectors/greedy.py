"""Taking, again and again, the open row that is best together with those taken: the loop that joint selectors share."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from g2is.selection.arrays import GRAIN, MOST_AHEAD, Floats, Rows, Singles
from g2is.selection.choose import choose_best
from g2is.selection.problem import Choice, Problem

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows

_WATCHED = 256  # rows among which those that are taken next are guessed


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
    """Yield the open row of highest exact value until none is open that does not oppose every example of the target.

    Ties go to the lowest row.
    """
    while (candidates := np.flatnonzero(problem.open & ~problem.opposed)).size:
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


class Ahead:
    """Products of all rows with what a taken row adds, for several rows to be taken from one pass over the pool.

    A pass is bound by reading the pool, so one for many directions costs little more than one for one. Which rows will
    be taken next is guessed; what is taken is decided elsewhere, from exact values, so a wrong guess costs time only.
    """

    def __init__(self, rows: "UnitRows") -> None:
        self._rows = rows
        self._kept: list[tuple[int, Singles]] = []
        self._num = 1

    def products(self, row: int, foresee: Callable[[int], Sequence[tuple[int, Floats]]]) -> Floats:
        """Screened cosines (N,) of all rows with the direction of `row`.

        `foresee(num)` gives up to `num` rows with their directions (k,), unit vectors or zero: `row`, and what is
        likely to be taken after it, in this order. A direction may depend on the rows before it, since it is used only
        if just these are taken.
        """
        if not self._kept or self._kept[0][0] != row:
            self._num = max(1, self._num // 2) if self._kept else min(2 * self._num, MOST_AHEAD)
            foreseen = foresee(self._num)
            products = self._rows.cosines(np.stack([direction for _, direction in foreseen]))
            self._kept = list(zip([row for row, _ in foreseen], products, strict=True))
        return self._kept.pop(0)[1].astype(np.float64)


def watched(candidates: Rows, values: Floats) -> Rows:
    """The few of `candidates` (n,) that have the highest `values` (n,)."""
    if len(candidates) <= _WATCHED:
        return candidates
    return candidates[np.argpartition(values, -_WATCHED)[-_WATCHED:]]
