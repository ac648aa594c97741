"""Which pool rows can still be taken, and what taking one rules out."""

import numpy as np

from g2is.selection.arrays import GRAIN, Mask, Rows, Singles
from g2is.selection.copies import Copies
from g2is.selection.rules import Rules
from g2is.selection.similarity import UnitRows


class Candidates:
    """The rows that can still be taken: nodes, not taken by any component, not known as a near-copy of a taken row.

    open            (N,) bool
    num_similarities, num_in_noise  cosines of a taken row with the rows that its trail could take then, and how many of
                    them were within ±2/√k, by the screen
    num_duplicates  rows found to be near-copies
    """

    def __init__(self, rows: UnitRows, rules: Rules, keep_zero_rows: bool) -> None:
        self.rows = rows
        self.rules = rules
        self.open: Mask = np.ones(rows.num_rows, dtype=bool) if keep_zero_rows else rows.nodes.copy()
        self.num_similarities = 0
        self.num_in_noise = 0
        self.num_duplicates = 0
        threshold = rules.duplicate_threshold
        self._copies = None if threshold is None else Copies(rows, threshold)

    def take(self, row: int) -> None:
        """Close `row`, which a component took or which is included."""
        self.open[row] = False
        if self._copies is not None:
            self._copies.add(row)

    def is_copy(self, row: int) -> bool:
        """Whether `row`, an open one, is a near-copy of a taken row; if so it is closed."""
        if not self.open[row]:
            return True
        if self._copies is None or not self._copies.is_copy(row):
            return False
        self._close(np.array([row]))
        return True

    def note(self, rows: Rows, cosines: Singles) -> None:
        """Count the screened `cosines` (n,) of a taken row with open `rows` (n,), and close what surely is a copy."""
        margin = self.rows.margin + GRAIN
        self.num_similarities += len(rows)
        self.num_in_noise += int(np.count_nonzero(np.abs(cosines) <= self.rules.noise + margin))
        if self.rules.duplicate_threshold is not None:
            self._close(rows[cosines > self.rules.duplicate_threshold + margin])

    def _close(self, copies: Rows) -> None:
        self.open[copies] = False
        self.num_duplicates += len(copies)
