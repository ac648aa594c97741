"""One trail of the walk: an anchor near the core knowledge and the rows that follow it (method.md step 7)."""

import math
from typing import Literal, NamedTuple

import numpy as np

from g2is.selection.candidates import Candidates
from g2is.selection.choose import choose_best, choose_first
from g2is.selection.similarity import GRAIN, Floats, Mask, Rows, dot_rows

_NO_LENGTH = 1e-10  # a sum S' no longer than this has no direction: its consistency is 0, as in the authors' script


class Taken(NamedTuple):
    """A row that a trail took; its three similarities are exact. See `record.Step`."""

    row: int
    role: Literal["anchor", "step", "fallback"]
    similarity_to_previous: float
    similarity_to_core: float
    consistency: float


class Trail:
    """Takes rows one by one. S' and the conflict set are those of this trail's own rows.

    `direction` (k,) is K; `core_cosines` (N,) float32 are the screened cosines with it; `conflicts` (N,) bool is the
    conflict set to fill: all False for a trail of its own, or the one that several components share.
    """

    def __init__(
        self,
        candidates: Candidates,
        direction: Floats,
        core_cosines: np.ndarray,
        conflicts: Mask,
        graph: np.ndarray | None,
    ) -> None:
        self._candidates = candidates
        self._rows = candidates.rows
        self._rules = candidates.rules
        self._direction = direction
        self._core_cosines = core_cosines
        self._conflicts = conflicts
        self._graph = graph
        self._last = -1
        self._num_taken = 0
        self._sum: Floats = np.zeros(self._rows.k)  # S' of eq. 6
        self._reference = 0.0  # what the consistency of a larger S' is held against
        self._cosines: Floats | None = None  # of all rows with the last one
        self._sum_products: Floats | None = None  # of all unit rows with S'

    def available(self) -> Mask:
        """The rows (N,) that can be taken without conflict."""
        return self._candidates.open & ~self._conflicts

    def look(self) -> Taken | None:
        """The row that comes next; None if the trail has run dry. Nothing changes before it is handed to `add`."""
        if self._num_taken == 0:
            taken = self._take_best("anchor", np.flatnonzero(self.available()), self._core_cosines)
        else:
            possible = self.available() & self._perhaps_consistent()
            if self._graph is None:
                # All possible rows are looked at here, so a fallback (same rows, same rules) could not find one.
                taken = self._take_best("step", np.flatnonzero(possible), self._wake()[0])
            else:
                taken = self._take_neighbour(self._graph[self._last], possible) or self._take_best(
                    "fallback", np.flatnonzero(possible), self._core_cosines
                )
        return taken

    def add(self, taken: Taken) -> None:
        """Take the row that `look` found."""
        unit = self._rows.unit(taken.row)
        self._sum = self._sum + unit
        cosines = self._candidates.take(taken.row, unit)
        self._conflicts |= self._candidates.conflicting(cosines)
        self._cosines = cosines
        self._sum_products = cosines if self._sum_products is None else self._sum_products + cosines
        self._last = taken.row
        self._num_taken += 1
        value = taken.consistency if self._rules.signed else abs(taken.consistency)
        if self._num_taken == 1 or self._rules.reference == "previous":
            self._reference = value
        elif self._rules.reference == "best":
            self._reference = max(self._reference, value)

    def rest(self) -> None:
        """Drop what can be had again with two passes over the pool, until the trail is extended."""
        self._cosines = self._sum_products = None

    def _take_best(
        self, role: Literal["anchor", "step", "fallback"], candidates: Rows, screened: np.ndarray
    ) -> Taken | None:
        def judge(rows: Rows) -> tuple[Floats, Mask]:
            to_previous, to_core, consistency = self._measure(rows)
            if role == "anchor":
                return to_core, np.ones(len(rows), dtype=bool)
            return (to_previous if role == "step" else to_core), self._consistent(consistency)

        return self._taken(
            choose_best(candidates, screened[candidates].astype(np.float64), self._rows.margin, judge), role
        )

    def _take_neighbour(self, neighbours: np.ndarray, possible: Mask) -> Taken | None:
        # The list's own order decides: it is "best first" as whoever made it measured, which may not be by our cosine.
        listed = np.asarray(neighbours, dtype=np.intp)
        row = choose_first(listed[possible[listed]], lambda rows: self._consistent(self._measure(rows)[2]))
        return self._taken(row, "step")

    def _taken(self, row: int | None, role: Literal["anchor", "step", "fallback"]) -> Taken | None:
        if row is None:
            return None
        to_previous, to_core, consistency = (float(values[0]) for values in self._measure(np.array([row])))
        return Taken(row, role, math.nan if role == "anchor" else to_previous, to_core, consistency)

    def _measure(self, rows: Rows) -> tuple[Floats, Floats, Floats]:
        """For each row (n,), exactly: cosine with the last row, cosine with K, and cos(S' + row, K)."""
        last = self._rows.unit(self._last) if self._num_taken else np.zeros(self._rows.k)

        def measure(units: Floats) -> Floats:
            sums = self._sum + units
            lengths = np.sqrt(dot_rows(sums, sums))
            aligned = dot_rows(sums, self._direction)
            consistency = np.divide(aligned, lengths, out=np.zeros(len(units)), where=lengths > _NO_LENGTH)
            return np.stack([dot_rows(units, last), dot_rows(units, self._direction), consistency], axis=1)

        to_previous, to_core, consistency = self._rows.over_units(rows, measure).T
        return to_previous, to_core, consistency

    def _consistent(self, consistency: Floats) -> Mask:
        """Eq. 6 for S' with each candidate added: its alignment with K is at least δ times the reference."""
        value = consistency if self._rules.signed else np.abs(consistency)
        return value >= self._rules.delta * self._reference - GRAIN

    def _perhaps_consistent(self) -> Mask:
        """Where eq. 6 may hold (N,), from the screened products: False only where it surely does not.

        It is asked as S'·K + x·K >= δ·reference·‖S' + x‖, with ‖S' + x‖² = ‖S'‖² + 2 S'·x + ‖x‖².
        """
        sum_products = self._wake()[1]
        aligned = self._sum @ self._direction + self._core_cosines.astype(np.float64)
        if not self._rules.signed:
            aligned = np.abs(aligned)
        squares = self._sum @ self._sum + 2 * sum_products + self._rows.nodes
        # S'·x is a sum of num_taken screened cosines, each off by up to the margin, and twice that is in the square.
        square_margin = 2 * self._rows.margin * self._num_taken
        lengths = np.sqrt(np.maximum(squares, square_margin))
        bar = self._rules.delta * self._reference
        slack = self._rows.margin + abs(bar) * square_margin / lengths + 1e-9
        return aligned >= bar * lengths - slack

    def _wake(self) -> tuple[Floats, Floats]:
        """Cosines of all rows with the last row, and products of all unit rows with S': (N,) each."""
        if self._cosines is None:
            self._cosines = self._rows.cosines(self._rows.unit(self._last))
        if self._sum_products is None:
            length = float(np.sqrt(self._sum @ self._sum))
            unit = self._sum / length if length > 0 else self._sum
            self._sum_products = self._rows.cosines(unit) * length
        return self._cosines, self._sum_products
