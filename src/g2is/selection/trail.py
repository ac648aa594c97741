"""One trail of the walk: an anchor near the core knowledge and the rows that follow it (method.md step 7)."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from g2is.selection.arrays import GRAIN, Floats, Mask, Rows, Singles, dot_rows
from g2is.selection.candidates import Candidates
from g2is.selection.choose import choose_best, choose_first
from g2is.selection.conflicts import Conflicts
from g2is.selection.foresight import Foresight, Position

_NO_LENGTH = 1e-10  # a sum S' no longer than this has no direction: its consistency is 0, as in the authors' script


class Taken(NamedTuple):
    """A row that a trail took; its three similarities are exact. See `record.Step`."""

    row: int
    role: Literal["anchor", "step", "fallback"]
    similarity_to_previous: float
    similarity_to_core: float
    consistency: float


@dataclass
class _Alive:
    """The rows that may still be taken, in ascending order, and what is known of each, by the screen.

    Rows that are closed or conflict never come back while a trail lasts, so all that grows with the pool is kept, and
    read, for these rows only.
    """

    rows: Rows  # (n,)
    to_core: Singles  # (n,) cosines with K
    to_last: Singles | None = None  # (n,) cosines with the last row
    sum_products: Floats | None = None  # (n,) products of the unit rows with S'

    def keep(self, which: Mask) -> None:
        self.rows, self.to_core = self.rows[which], self.to_core[which]
        self.to_last = None if self.to_last is None else self.to_last[which]
        self.sum_products = None if self.sum_products is None else self.sum_products[which]


class Trail:
    """Takes rows one by one. S' is the sum of this trail's own rows.

    `direction` (k,) is K; `core_cosines` (N,) float32 are the screened cosines with it; `shared` is the conflict set
    that several components share, None for a trail that has one of its own. K `has_sign` if it matters which way it
    points: then no row that opposes it is an anchor, unless the rules take opposed rows.
    """

    def __init__(
        self,
        candidates: Candidates,
        direction: Floats,
        core_cosines: Singles,
        graph: np.ndarray | None,
        shared: Conflicts | None = None,
        has_sign: bool = False,
    ) -> None:
        self._candidates = candidates
        self._rows = candidates.rows
        self._rules = candidates.rules
        self._direction = direction
        self._core_cosines = core_cosines
        self._least_of_anchor = -GRAIN if has_sign and not candidates.rules.takes_opposed else -math.inf
        self._is_shared = shared is not None
        self._conflicts = shared or Conflicts(self._rows, self._rules.conflict_tolerance)
        self._graph = graph
        self._last = -1
        self._num_taken = 0
        self._sum: Floats = np.zeros(self._rows.k)  # S' of eq. 6
        self._reference = 0.0  # what the consistency of a larger S' is held against
        self._is_behind = False  # the last row's conflicts are still to be found out
        self._alive: _Alive | None = None  # None: not known now
        self._foresight = Foresight(self._rows)

    def num_available(self) -> int:
        """How many rows can be taken without conflict, but for those of which only an exact value could tell."""
        return len(self._catch_up().rows)

    def look(self) -> Taken | None:
        """The row that comes next; None if the trail has run dry. Nothing changes before it is handed to `add`, except
        that rows found to be near-copies are closed."""
        alive = self._catch_up()
        if self._num_taken == 0:
            agreeing = alive.to_core >= self._least_of_anchor - self._rows.margin
            return self._take_best("anchor", alive.rows[agreeing], alive.to_core[agreeing])
        possible = self._perhaps_consistent(alive)
        rows = alive.rows[possible]
        if self._graph is None:
            # All possible rows are looked at here, so a fallback (same rows, same rules) could not find one.
            assert alive.to_last is not None
            return self._take_best("step", rows, alive.to_last[possible])
        return self._take_neighbour(self._graph[self._last], rows) or self._take_best(
            "fallback", rows, alive.to_core[possible]
        )

    def add(self, taken: Taken) -> None:
        """Take the row that `look` found."""
        self._sum = self._sum + self._rows.unit(taken.row)
        self._candidates.take(taken.row)
        self._last = taken.row
        self._num_taken += 1
        value = taken.consistency if self._rules.signed else abs(taken.consistency)
        if self._num_taken == 1 or self._rules.reference == "previous":
            self._reference = value
        elif self._rules.reference == "best":
            self._reference = max(self._reference, value)
        self._is_behind = True
        if self._is_shared:  # other trails must know of the conflicts at once; else the last row may never need them
            self._catch_up()

    def rest(self) -> None:
        """Drop what can be had again with a pass over the pool, until the trail is extended."""
        self._alive = None
        self._foresight.forget()

    def _catch_up(self) -> _Alive:
        """What is known of the rows that can be taken now, after a pass over them if need be."""
        alive = self._alive
        if alive is None:
            rows = np.flatnonzero(self._candidates.open & ~self._conflicts.surely)
            alive = self._alive = _Alive(rows, self._core_cosines[rows])
        else:
            self._drop(alive, self._candidates.open[alive.rows] & ~self._conflicts.surely[alive.rows])
        if self._num_taken and (self._is_behind or alive.to_last is None):
            self._measure_last(alive)
        if self._is_behind:
            assert alive.to_last is not None
            self._candidates.note(alive.rows, alive.to_last)
            conflicting = self._conflicts.add(self._last, alive.rows, alive.to_last)
            self._drop(alive, self._candidates.open[alive.rows] & ~conflicting)
            self._is_behind = False
        return alive

    def _measure_last(self, alive: _Alive) -> None:
        """Bring the cosines with the last row and the products with S' up to date."""
        if (cosines := self._foresight.cosines_with(self._last)) is not None and alive.sum_products is not None:
            alive.to_last, alive.sum_products = cosines, alive.sum_products + cosines
            return
        directions = [self._rows.unit(self._last)]
        length = float(np.sqrt(self._sum @ self._sum))
        is_known = alive.sum_products is not None or self._num_taken == 1
        if not is_known:
            directions.append(self._sum / length if length > 0 else self._sum)
        near = alive.to_core if alive.to_last is None else alive.to_last
        position = Position(self._last, self._sum, self._direction, self._reference)
        cosines, *of_sum = self._foresight.look(alive.rows, directions, near, self._rules, position)
        if not is_known:
            alive.sum_products = of_sum[0].astype(np.float64) * length
        else:
            before = 0.0 if alive.sum_products is None else alive.sum_products
            alive.sum_products = before + cosines.astype(np.float64)
        alive.to_last = cosines

    def _drop(self, alive: _Alive, kept: Mask) -> None:
        if not kept.all():
            alive.keep(kept)
            self._foresight.keep(kept)

    def _take_best(
        self, role: Literal["anchor", "step", "fallback"], candidates: Rows, screened: Singles
    ) -> Taken | None:
        def judge(rows: Rows) -> tuple[Floats, Mask]:
            to_previous, to_core, consistency = self._measure(rows)
            if role == "anchor":
                return to_core, to_core >= self._least_of_anchor
            return (to_previous if role == "step" else to_core), self._consistent(consistency)

        row = choose_best(candidates, screened.astype(np.float64), self._rows.margin, judge, self._admit)
        return self._taken(row, role)

    def _take_neighbour(self, neighbours: np.ndarray, possible: Rows) -> Taken | None:
        # The list's own order decides: it is "best first" as whoever made it measured, which may not be by our cosine.
        listed = np.asarray(neighbours, dtype=np.intp)
        listed = listed[np.isin(listed, possible)]
        row = choose_first(listed, lambda rows: self._consistent(self._measure(rows)[2]), self._admit)
        return self._taken(row, "step")

    def _admit(self, row: int) -> bool:
        """Whether a row that would be taken neither conflicts nor is a near-copy, decided exactly."""
        return not self._conflicts.has(row) and not self._candidates.is_copy(row)

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

    def _perhaps_consistent(self, alive: _Alive) -> Mask:
        """Where eq. 6 may hold (n,), from the screened products: False only where it surely does not.

        It is asked as S'·K + x·K >= δ·reference·‖S' + x‖, with ‖S' + x‖² = ‖S'‖² + 2 S'·x + ‖x‖².
        """
        assert alive.sum_products is not None
        aligned = self._sum @ self._direction + alive.to_core.astype(np.float64)
        if not self._rules.signed:
            aligned = np.abs(aligned)
        squares = self._sum @ self._sum + 2 * alive.sum_products + self._rows.nodes[alive.rows]
        # S'·x is a sum of num_taken screened cosines, each off by up to the margin, and twice that is in the square.
        square_margin = 2 * self._rows.margin * self._num_taken
        lengths = np.sqrt(np.maximum(squares, square_margin))
        bar = self._rules.delta * self._reference
        slack = self._rows.margin + abs(bar) * square_margin / lengths + 1e-9
        return aligned >= bar * lengths - slack
