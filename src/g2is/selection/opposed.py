"""Rows that oppose every example of the target they would be taken for.

They are looked for when the first of them is about to be taken. To compare each row with each example beforehand would
be passes over the pool for nothing: few walks come to such a row.
"""

import numpy as np

from g2is.selection.arrays import GRAIN, MOST_AHEAD, Mask
from g2is.selection.similarity import UnitRows


class Opposed:
    """Which rows of a pool oppose every one of a target's `examples` (M, k): the cosine with each is below 0.

    rows  (N,) bool, those found so far that were open then; `refuses` finds more. None, if no examples are given.
    """

    def __init__(self, rows: UnitRows, examples: np.ndarray | None) -> None:
        self._rows = rows
        self.rows: Mask = np.zeros(rows.num_rows, dtype=bool)
        self._examples = None
        if examples is not None:
            found = UnitRows(examples, what="target rows")
            self._examples = found.over_units(np.flatnonzero(found.nodes), lambda units: units)
        self._has_swept = False

    def opposes(self, row: int) -> bool:
        """Whether `row` opposes every example; decided in float64."""
        return self._examples is not None and bool((self._examples @ self._rows.unit(row) < -GRAIN).all())

    def refuses(self, row: int, candidates: Mask) -> bool:
        """As `opposes`, for a row that is about to be taken.

        With the first that does, all `candidates` (N,) bool that surely do are found, not to be asked about one by one.
        """
        if self._examples is None or not self.opposes(row):
            return False
        if not self._has_swept:
            self._has_swept = True
            bar = -self._rows.margin - GRAIN
            surely: Mask = candidates.copy()
            for low in range(0, len(self._examples), MOST_AHEAD):
                surely &= (self._rows.cosines(self._examples[low : low + MOST_AHEAD]) < bar).all(axis=0)
            self.rows |= surely
        self.rows[row] = True
        return True
