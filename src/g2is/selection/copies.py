"""Near-copies of rows that were taken, told apart when a row is about to be taken itself.

To look for the copies of each taken row would be a pass over the pool each; a row that is about to be taken needs the
taken rows only.
"""

import numpy as np

from g2is.selection.arrays import GRAIN
from g2is.selection.similarity import UnitRows


class Copies:
    """The rows taken so far, to tell whether another one is a near-copy of any: a cosine of `threshold` or more."""

    def __init__(self, rows: UnitRows, threshold: float) -> None:
        self._rows, self._threshold = rows, threshold
        self._taken: list[int] = []

    def is_copy(self, row: int) -> bool:
        """Whether `row` is a near-copy of a taken row; decided in float64."""
        taken = np.array(self._taken, np.intp)
        cosines = self._rows.decided_cosines(taken, self._rows.unit(row), self._threshold)
        return bool((cosines >= self._threshold - GRAIN).any())

    def add(self, row: int) -> None:
        """Count `row` among those taken."""
        self._taken.append(row)
