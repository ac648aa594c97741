"""Which pool rows can still be taken, and what taking one rules out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from g2is.config import SelectionConfig
from g2is.selection.similarity import GRAIN, Floats, Mask, UnitRows, near


@dataclass(frozen=True)
class Rules:
    """The rules of a walk, resolved for rows of k coordinates.

    delta                δ of the consistency rule (eq. 6)
    conflict_tolerance   τ: a conflict is a cosine below -τ (eq. 5 has τ = 0)
    duplicate_threshold  cosine from which a row is a near-copy; None: no row is
    noise                2/√k: two standard deviations of the cosine of unrelated sketched rows
    """

    delta: float
    conflict_tolerance: float
    signed: bool
    reference: Literal["previous", "anchor", "best"]
    duplicate_threshold: float | None
    noise: float

    @classmethod
    def resolve(cls, settings: SelectionConfig, k: int) -> Self:
        """The rules that `settings` mean for rows of k coordinates."""
        noise = 2 / math.sqrt(k)
        return cls(
            delta=settings.delta,
            conflict_tolerance=noise if settings.conflict_tolerance == "noise" else settings.conflict_tolerance,
            signed=settings.consistency_sign == "signed",
            reference=settings.consistency_reference,
            duplicate_threshold=settings.duplicate_threshold,
            noise=noise,
        )


class Candidates:
    """The rows that can still be taken: nodes, not taken by any component, no near-copy of a taken row.

    open            (N,) bool
    num_similarities, num_in_noise  cosines of a taken row with rows open then, and how many of them were within ±2/√k
    num_duplicates  rows closed as near-copies
    """

    def __init__(self, rows: UnitRows, rules: Rules, keep_zero_rows: bool) -> None:
        self.rows = rows
        self.rules = rules
        self.open: Mask = np.ones(rows.num_rows, dtype=bool) if keep_zero_rows else rows.nodes.copy()
        self.num_similarities = 0
        self.num_in_noise = 0
        self.num_duplicates = 0
        self._thresholds = [-rules.conflict_tolerance, -rules.noise, rules.noise]
        if rules.duplicate_threshold is not None:
            self._thresholds.append(rules.duplicate_threshold)

    def take(self, row: int, unit: Floats) -> Floats:
        """Close `row` and its near-copies. Returns the cosines (N,) of all rows with it.

        They are screened ones, but exact for each open row that lies near a threshold of the rules.
        """
        self.open[row] = False
        cosines = self._cosines(unit)
        seen = cosines[self.open]
        self.num_similarities += len(seen)
        self.num_in_noise += int((np.abs(seen) <= self.rules.noise + GRAIN).sum())
        self._close_copies(cosines)
        return cosines

    def include(self, rows: Sequence[int]) -> None:
        """Close `rows`, which no component takes, and their near-copies."""
        self.open[list(rows)] = False
        for row in rows:
            self.close_copies_of(row)

    def close_copies_of(self, row: int) -> None:
        """Close the near-copies of `row`, if near-copies are to be skipped."""
        if self.rules.duplicate_threshold is not None:
            self._close_copies(self._cosines(self.rows.unit(row)))

    def conflicting(self, cosines: Floats) -> Mask:
        """Which rows conflict with a taken row, by `take`'s cosines with it; right for open rows."""
        return cosines < -self.rules.conflict_tolerance - GRAIN

    def _cosines(self, unit: Floats) -> Floats:
        cosines = self.rows.cosines(unit)
        doubtful = np.flatnonzero(self.open & near(cosines, self._thresholds, self.rows.margin + GRAIN))
        cosines[doubtful] = self.rows.exact_cosines(doubtful, unit)
        return cosines

    def _close_copies(self, cosines: Floats) -> None:
        if self.rules.duplicate_threshold is not None:
            copies = self.open & (cosines >= self.rules.duplicate_threshold - GRAIN)
            self.num_duplicates += int(copies.sum())
            self.open &= ~copies  # in place: other selectors share the mask
