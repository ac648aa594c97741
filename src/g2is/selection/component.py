"""One component while it is walked: its trails one after the other, and the counts for the report."""

import numpy as np

from g2is.selection.candidates import Candidates
from g2is.selection.core import CoreKnowledge
from g2is.selection.record import ComponentReport, fraction
from g2is.selection.similarity import Floats, Mask
from g2is.selection.trail import Taken, Trail


class Component:
    """Takes rows for component `index` of a target's core knowledge; `budget` is its share in the first deal."""

    def __init__(
        self,
        target: str,
        index: int,
        core: CoreKnowledge,
        budget: int,
        candidates: Candidates,
        graph: np.ndarray | None,
    ) -> None:
        self.target = target
        self.index = index
        self.weight = float(core.variance[index])
        self.budget = budget
        self.is_dry = False
        self.trail_number = -1
        self.num_taken = 0
        self.spent = 0
        self.num_considered = 0
        self.num_refused = 0
        self._direction: Floats = core.components[index] / np.linalg.norm(core.components[index])
        self._candidates = candidates
        self._graph = graph
        self._core_cosines: np.ndarray | None = None  # (N,) float32, screened; made when the first anchor is looked for
        self._trail: Trail | None = None
        self._looking: Trail | None = None  # the trail of the last look: begun only if that row is taken
        self._num_refills = 0
        self._num_trails = 0
        self._dry_after: int | None = None

    def look(self, shared_conflicts: Mask | None) -> Taken | None:
        """The row that comes next; None if no row meets the rules, and from then on until `begin_anew`.

        A new trail keeps a conflict set of its own unless it is given the one that all components share, (N,).
        """
        if self._trail is None:
            trail = self._new_trail(shared_conflicts)
        else:
            trail = self._trail
            num_open = int(self._candidates.open.sum())
            self.num_considered += num_open
            self.num_refused += num_open - int(trail.available().sum())
        taken = trail.look()
        if taken is None:
            self.is_dry = True
            self._trail = None
            if self._dry_after is None:
                self._dry_after = self.num_taken
        self._looking = trail
        return taken

    def take(self, taken: Taken, cost: int, refill: bool) -> None:
        """Take the row that `look` found last."""
        assert self._looking is not None
        self._looking.add(taken)
        self._trail = self._looking
        self._num_trails += taken.role == "anchor"
        self.num_taken += 1
        self.spent += cost
        self._num_refills += refill

    def rest(self) -> None:
        """Hold less memory until the next `look`."""
        self._looking = None
        if self._trail is not None:
            self._trail.rest()

    def begin_anew(self) -> None:
        """Leave the trail: the next row is a new anchor."""
        self._trail = self._looking = None
        self.is_dry = False

    def forget(self) -> None:
        """Hold no memory that grows with the pool: the target is done."""
        self._trail = self._looking = self._core_cosines = None

    def report(self) -> ComponentReport:
        """How the walk went for this component."""
        return ComponentReport(
            target=self.target,
            component=self.index,
            budget=self.budget,
            num_taken=self.num_taken,
            spent=self.spent,
            num_refills=self._num_refills,
            num_trails=self._num_trails,
            dry_after=self._dry_after,
            conflict_refused_fraction=fraction(self.num_refused, self.num_considered),
        )

    def _new_trail(self, shared_conflicts: Mask | None) -> Trail:
        rows = self._candidates.rows
        if self._core_cosines is None:
            self._core_cosines = rows.cosines(self._direction).astype(np.float32)
        conflicts = np.zeros(rows.num_rows, dtype=bool) if shared_conflicts is None else shared_conflicts
        return Trail(self._candidates, self._direction, self._core_cosines, conflicts, self._graph)
