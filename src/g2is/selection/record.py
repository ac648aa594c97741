"""What a walk returns: every step with its reasons, and what the report needs."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["anchor", "step", "fallback", "refill"]


@dataclass(frozen=True)
class Step:
    """One selected pool row.

    row        index in the pool
    order      place in the selection, from 0
    target     name of the target whose core knowledge was walked
    component  index of the component within that target's core knowledge
    trail      number of the trail within the walk, from 0; a trail begins with an anchor
    role       anchor, step (most similar to the last row) or fallback (most similar to K) for rows taken in the first
               deal of the budget; refill for every row taken after it, that is, for what a dry component left
    similarity_to_previous  cosine with the row that the trail took before; NaN where the row begins its trail
    similarity_to_core      cosine with the component's direction K
    consistency             cos(S', K), S' the sum of the trail's unit rows with this one
    """

    row: int
    order: int
    target: str
    component: int
    trail: int
    role: Role
    similarity_to_previous: float
    similarity_to_core: float
    consistency: float


@dataclass(frozen=True)
class ComponentReport:
    """How the walk went for one component.

    budget       its share of the target's budget in the first deal
    num_taken    rows taken in all, refills included
    num_refills  rows taken after the first deal
    num_trails   anchors taken, so 1 unless new ones were needed
    dry_after    rows it had taken when it first ran dry; None if it never did
    conflict_refused_fraction  of the rows that could still be taken, the share refused because they conflict; the mean
                 over the steps weighted by those rows; NaN if no step was looked for
    """

    target: str
    component: int
    budget: int
    num_taken: int
    num_refills: int
    num_trails: int
    dry_after: int | None
    conflict_refused_fraction: float


@dataclass(frozen=True)
class Walk:
    """A selection, in the order in which it was made.

    budget              rows asked for
    components          one report for each component of each target
    conflict_tolerance  τ as resolved for this k
    conflict_refused_fraction  as in ComponentReport, over all components
    noise               2/√k
    noise_fraction      share of the cosines between a taken row and those that could still be taken then, that lie
                        within ±noise; NaN if there were none
    num_zero_rows       zero rows of the pool
    num_duplicates      rows skipped as near-copies of a taken row
    ran_out             where the rows ran out, if fewer than `budget` were selected
    """

    steps: tuple[Step, ...]
    budget: int
    components: tuple[ComponentReport, ...]
    conflict_tolerance: float
    conflict_refused_fraction: float
    noise: float
    noise_fraction: float
    num_zero_rows: int
    num_duplicates: int
    ran_out: str | None

    @property
    def rows(self) -> NDArray[np.intp]:
        """The selected pool rows (n,) in order."""
        return np.array([step.row for step in self.steps], dtype=np.intp)

    @property
    def budgets(self) -> list[int]:
        """The budget of each component in the first deal, target by target."""
        return [component.budget for component in self.components]

    @property
    def num_refills(self) -> int:
        """Rows taken after the first deal."""
        return sum(component.num_refills for component in self.components)


def fraction(part: int, whole: int) -> float:
    """part / whole, NaN where there is no whole."""
    return part / whole if whole else math.nan
