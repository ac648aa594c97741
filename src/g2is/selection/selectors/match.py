"""Joint choice: each step takes the row that brings the sum of the selection nearest to the target's mean gradient.

Where the walk asks a row to be coherent with the last one taken and free of conflict with each, this asks it of their
sum: a row that repeats what is there, or pulls away from it, does less for the direction of the sum than one that adds
what is missing. Greedy, so each step's choice is best only for the steps before it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from g2is.errors import SelectionError
from g2is.methods import CandidateSettings, OpposedSettings, SelectorKind
from g2is.selection.arrays import Floats, Rows, dot_rows
from g2is.selection.problem import Choice, Problem
from g2is.selection.selectors.greedy import Ahead, take_best, watched

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows

_NO_LENGTH = 1e-12  # of a sum of unit rows: shorter, it has no direction


def match(problem: Problem) -> Iterator[Choice]:
    """Take, again and again, the open row x that maximises cos(S + x, T), of those that do not oppose every example.

    S is the sum of the unit rows taken so far, T the mean of the target's unit rows. Values are float64's; ties go to
    the lowest row. Raises SelectionError if the target's rows cancel.
    """
    rows, targets = problem.vectors()
    mean = targets.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length <= _NO_LENGTH:
        raise SelectionError(
            f"selector match: expected target rows with a mean direction, found {len(targets)} that cancel; use"
            " round-robin, or other target examples"
        )
    return take_best(problem, _Sum(rows, mean / length))


class _Sum:
    """S, and what every row would make of it."""

    def __init__(self, rows: "UnitRows", direction: Floats) -> None:
        self._rows = rows
        self._direction = direction
        self._to_target = rows.over_units(np.arange(rows.num_rows), lambda units: dot_rows(units, direction)[:, None])[
            :, 0
        ]
        self._sum: Floats = np.zeros(rows.k)
        self._products: Floats = np.zeros(rows.num_rows)  # of all rows with S, screened
        self._num_added = 0
        self._ahead = Ahead(rows)
        self._watched: Rows = np.empty(0, np.intp)

    def add(self, row: int) -> None:
        self._products += self._ahead.products(row, lambda num: self._foresee(row, num))
        self._sum = self._sum + self._rows.unit(row)
        self._num_added += 1

    def _foresee(self, row: int, num: int) -> list[tuple[int, Floats]]:
        """`row` and the `num` - 1 rows that would follow it among those watched, as unit vectors."""
        rows = self._watched[self._watched != row]
        units = self._rows.over_units(rows, lambda units: units)
        total, products, to_target = self._sum, self._products[rows], self._to_target[rows]
        foreseen: list[tuple[int, Floats]] = []
        for _ in range(min(num, len(rows) + 1)):
            unit = self._rows.unit(row)
            foreseen.append((row, unit))
            total, products = total + unit, products + units @ unit
            squares = np.maximum(total @ total + 2 * products + 1, _NO_LENGTH)
            values = (total @ self._direction + to_target) / np.sqrt(squares)
            values[np.isin(rows, [row for row, _ in foreseen])] = -np.inf
            if len(rows):
                row = int(rows[values.argmax()])
        return foreseen

    def screened(self, candidates: Rows) -> tuple[Floats, Floats]:
        """cos(S + x, T) of the candidates, and the most by which one may be off."""
        aligned = self._sum @ self._direction + self._to_target[candidates]
        squares = self._sum @ self._sum + 2 * self._products[candidates] + 1
        error = 2 * self._rows.margin * self._num_added  # of a square: a sum of screened cosines, twice
        surely = np.maximum(squares - error, _NO_LENGTH)
        off: NDArray[np.float64] = np.abs(aligned) * error / (2 * surely**1.5)
        values = np.clip(aligned / np.sqrt(np.maximum(squares, _NO_LENGTH)), -1, 1)
        self._watched = watched(candidates, values)
        return values, np.minimum(off, 2.0) + 1e-12

    def judge(self, rows: Rows) -> Floats:
        def measure(units: Floats) -> Floats:
            sums = self._sum + units
            lengths = np.sqrt(dot_rows(sums, sums))
            aligned = dot_rows(sums, self._direction)
            return np.divide(aligned, lengths, out=np.zeros(len(units)), where=lengths > _NO_LENGTH)[:, None]

        return self._rows.over_units(rows, measure)[:, 0]


MATCH = SelectorKind(
    line="again and again the row that turns the sum of those taken most towards the target's mean",
    source="g2is",
    needs=lambda _: "vectors",
    shared={OpposedSettings: lambda _: True, CandidateSettings: lambda _: True},
    select=match,
    score="similarity of the sum of the rows taken, this one included, with the mean of the target",
)
