"""Which rows conflict with taken ones (eq. 5), decided for a row only when it is about to be taken."""

import numpy as np

from g2is.selection.arrays import GRAIN, Mask, Rows, Singles
from g2is.selection.similarity import UnitRows


class Conflicts:
    """The rows that conflict with any of some taken rows: those of one trail, or of all trails of a round.

    surely  (N,) bool, rows that conflict whatever the screen's error

    Most rows near the threshold are never about to be taken, so they are only marked here; `has` decides.
    """

    def __init__(self, rows: UnitRows, tolerance: float) -> None:
        self._rows, self._threshold = rows, -tolerance
        self._taken: list[int] = []
        self.surely: Mask = np.zeros(rows.num_rows, dtype=bool)
        self._unsure: Mask = np.zeros(rows.num_rows, dtype=bool)

    def add(self, taken: int, rows: Rows, cosines: Singles) -> Mask:
        """Count `taken`, whose screened cosines with `rows` (n,) are `cosines` (n,). Which of them surely conflict."""
        self._taken.append(taken)
        return self._mark(rows, cosines)

    def catch_up(self, rows: Rows) -> None:
        """Tell of all taken so far to `rows` (n,), which were closed when some of them were taken."""
        for taken in self._taken if len(rows) else []:
            self._mark(rows, self._rows.cosines(self._rows.unit(taken), rows))

    def _mark(self, rows: Rows, cosines: Singles) -> Mask:
        margin = self._rows.margin + GRAIN
        surely: Mask = cosines < self._threshold - margin
        unsure = (cosines < self._threshold + margin) & ~surely
        self.surely[rows[surely]] = True
        self._unsure[rows[unsure]] = True
        return surely

    def has(self, row: int) -> bool:
        """Whether `row`, one of those that every `add` was told of, conflicts; decided in float64."""
        if self._unsure[row]:
            taken = np.array(self._taken, np.intp)
            cosines = self._rows.decided_cosines(taken, self._rows.unit(row), self._threshold)
            self.surely[row] = bool((cosines < self._threshold - GRAIN).any())
            self._unsure[row] = False
        return bool(self.surely[row])
