"""What a walk returns: every step with its reasons, and what the report needs."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from g2is.selection.budget import Unit

Role = Literal["anchor", "step", "fallback", "refill", "picked", "included"]


@dataclass(frozen=True)
class Step:
    """One selected pool row.

    row        index in the pool
    order      place in the selection, from 0
    target     name of the target whose core knowledge was walked; None for an included row, which serves none
    component  index of the component within that target's core knowledge; None for an included row
    trail      number of the trail within the walk, from 0; a trail begins with an anchor; None for an included row
    role       anchor, step (most similar to the last row) or fallback (most similar to K) for rows taken in the first
               deal of the budget; refill for every row taken after it, that is, for what a dry component left;
               picked for rows that another selector took, which has neither components nor trails;
               included for rows that were asked for by name; similarities and consistency of both are NaN
    similarity_to_previous  cosine with the row that the trail took before; NaN where the row begins its trail
    similarity_to_core      cosine with the component's direction K
    consistency             cos(S', K), S' the sum of the trail's unit rows with this one
    score                   what another selector than the walk took the row for; NaN if it does not say
    """

    row: int
    order: int
    target: str | None
    component: int | None
    trail: int | None
    role: Role
    similarity_to_previous: float
    similarity_to_core: float
    consistency: float
    score: float = math.nan


@dataclass(frozen=True)
class ComponentReport:
    """How the walk went for one component.

    budget       its share of the target's budget in the first deal, in rows or tokens
    num_taken    rows taken in all, refills included
    spent        what they took from the budget: their number, or their tokens
    num_refills  rows taken after the first deal
    num_trails   anchors taken, so 1 unless new ones were needed
    dry_after    rows it had taken when it first ran dry; None if it never did
    conflict_refused_fraction  of the rows that could still be taken, the share refused because they conflict, by the
                 screen: rows so near the threshold that only an exact value could tell are not counted; the mean over
                 the steps weighted by those rows; NaN if no step was looked for
    """

    target: str
    component: int
    budget: int
    num_taken: int
    spent: int
    num_refills: int
    num_trails: int
    dry_after: int | None
    conflict_refused_fraction: float


@dataclass(frozen=True)
class Walk:
    """A selection, in the order in which it was made.

    budget              rows or tokens asked for, the included rows' among them
    unit                what the budget counts
    spent               what the selected rows took from it
    components          one report for each component of each target
    conflict_tolerance  τ as resolved for this k
    conflict_refused_fraction  as in ComponentReport, over all components
    noise               2/√k
    noise_fraction      share of the cosines between a taken row and those that its trail could still take then, that
                        lie within ±noise, by the screen; a trail's last row is not counted; NaN if there were none
    num_zero_rows       zero rows of the pool
    num_duplicates      rows found to be near-copies of a taken row, and so skipped: all of those that would have been
                        taken, and others that were noticed
    num_included        rows that were selected because they were asked for by name
    full_quotas         sources whose quota is full, in the order in which they were
    ran_out             where the rows ran out, if fewer than `budget` were selected. What is left of a budget of tokens
                        because no next row fits it any more is none of that
    unanswered          components, by target, with which no row agreed that could be taken: nothing was taken for them
    """

    steps: tuple[Step, ...]
    budget: int
    unit: Unit
    spent: int
    components: tuple[ComponentReport, ...]
    conflict_tolerance: float
    conflict_refused_fraction: float
    noise: float
    noise_fraction: float
    num_zero_rows: int
    num_duplicates: int
    num_included: int
    full_quotas: tuple[str, ...]
    ran_out: str | None
    unanswered: tuple[str, ...] = ()

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


@dataclass(frozen=True)
class Picks:
    """A selection by another selector than the walk, in the order in which it was made; fields as in Walk.

    `unanswered` says, by target, how many examples no row of the pool agrees with; `handed_on` for which targets the
    rows ran out, though later ones spent what was left: that is no part of `ran_out`.
    """

    steps: tuple[Step, ...]
    budget: int
    unit: Unit
    spent: int
    num_zero_rows: int
    num_duplicates: int
    num_included: int
    full_quotas: tuple[str, ...]
    ran_out: str | None
    unanswered: tuple[str, ...] = ()
    handed_on: tuple[str, ...] = ()

    @property
    def rows(self) -> NDArray[np.intp]:
        """The selected pool rows (n,) in order."""
        return np.array([step.row for step in self.steps], dtype=np.intp)


def fraction(part: int, whole: int) -> float:
    """part / whole, NaN where there is no whole."""
    return part / whole if whole else math.nan
