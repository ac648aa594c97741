"""One component while it is walked: its trails one after the other, and the counts for the report."""

import numpy as np

from g2is.selection.arrays import MOST_AHEAD, Floats, Singles
from g2is.selection.candidates import Candidates
from g2is.selection.conflicts import Conflicts
from g2is.selection.core import ALIGNED, CoreKnowledge
from g2is.selection.record import ComponentReport, fraction
from g2is.selection.similarity import UnitRows
from g2is.selection.trail import Taken, Trail


class CoreCosines:
    """Screened cosines of all rows with a core's components; those of several components come from one pass."""

    def __init__(self, rows: UnitRows, core: CoreKnowledge) -> None:
        self._rows = rows
        self._found: dict[int, Singles] = {}
        # (C, k), the components' directions
        self.directions: Floats = np.stack([component / np.linalg.norm(component) for component in core.components])

    def of(self, index: int) -> Singles:
        """(N,) with component `index`: those of the next ones come along."""
        if index not in self._found:
            indices = [i for i in range(index, len(self.directions)) if i not in self._found][:MOST_AHEAD]
            self._found |= dict(zip(indices, self._rows.cosines(self.directions[indices]), strict=True))
        return self._found[index]

    def forget(self) -> None:
        """Hold no memory that grows with the pool."""
        self._found = {}


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
        core_cosines: CoreCosines,
    ) -> None:
        self.target = target
        self.index = index
        self.weight = float(core.variance[index])
        # One at right angles to the mean target gradient could as well be turned the other way.
        self._has_sign = float(core.mean_alignment[index]) > ALIGNED
        self.budget = budget
        self.is_dry = False
        self.is_opposed = False  # a row was left that could not be taken, because it opposes this or the target
        self.trail_number = -1
        self.num_taken = 0
        self.spent = 0
        self.num_considered = 0
        self.num_refused = 0
        self._candidates = candidates
        self._graph = graph
        self._core_cosines = core_cosines
        self._trail: Trail | None = None
        self._looking: Trail | None = None  # the trail of the last look: begun only if that row is taken
        self._num_refills = 0
        self._num_trails = 0
        self._dry_after: int | None = None

    def look(self, shared_conflicts: Conflicts | None) -> Taken | None:
        """The row that comes next; None if no row meets the rules, and from then on until `begin_anew`.

        A new trail keeps a conflict set of its own unless it is given the one that all components share.
        """
        if self._trail is None:
            trail = self._new_trail(shared_conflicts)
        else:
            trail = self._trail
            num_available = trail.num_available()
            num_open = int(np.count_nonzero(self._candidates.open))
            self.num_considered += num_open
            self.num_refused += num_open - num_available
        taken = trail.look()
        if taken is None:
            self.is_dry = True
            self.is_opposed |= self._trail is None and trail.num_available() > 0
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
        self._trail = self._looking = None
        self._core_cosines.forget()

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

    def _new_trail(self, shared_conflicts: Conflicts | None) -> Trail:
        direction, cosines = self._core_cosines.directions[self.index], self._core_cosines.of(self.index)
        return Trail(self._candidates, direction, cosines, self._graph, shared_conflicts, self._has_sign)
