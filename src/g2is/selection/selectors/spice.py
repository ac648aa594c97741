"""Joint choice: new directions, less conflict with the rows taken (SPICE, arXiv 2601.23155), for a target.

SPICE asks of each row x how much it adds to the log-determinant of the Fisher matrix of those taken, F = Σ g gᵀ, less
a penalty where it points away from the mean of these:

    log(1 + α g_x·(I + αF)⁻¹·g_x) - λ max(0, -cos(g_x, mean of g taken)).

It knows no target. Here g_x is the row's unit gradient times its agreement with the target, so that what is to be
covered are directions that the target has a use for. The first term only falls as rows are taken and the penalty is
never below 0: what a row's first term was is a bound of what it is worth now, and few rows need to be looked at.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from g2is.methods import CandidateSettings, OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import GRAIN, Floats, Rows
from g2is.selection.problem import Choice, Problem
from g2is.selection.selectors.top import group_score

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows

_AT_ONCE = 64  # rows whose worth is found out first, and four times as many each time that those are not enough


class SpiceSettings(Section):
    """What information and conflict count."""

    fisher_scale: float = Field(
        1.0, ge=1e-5, le=1e6, description="α of log det(I + αF): more makes repetition worth less"
    )
    conflict_penalty: float = Field(
        0.1, ge=0, le=1e3, description="λ: what pointing straight away from the mean of the rows taken costs"
    )


def spice(problem: Problem) -> Iterator[Choice]:
    """Take, again and again, the open row of highest worth, until the budget is spent.

    A row's agreement is its mean cosine with the target's examples, of their nearest group, over the highest there is
    in the pool; one of 0 or below adds no information. Rows that oppose every example are passed over. Values are
    float64's; ties go to the lowest row. Rows taken for other targets and included rows do not count as taken.

    Raises SelectionError if the representation has no vectors.
    """
    rows, _ = problem.vectors()
    agreement = np.maximum(group_score(problem), 0)
    worth = _Worth(rows, agreement / (float(agreement.max()) or 1.0), problem.settings.part(SpiceSettings))
    while (candidates := np.flatnonzero(problem.open & ~problem.opposed)).size:
        row, score = worth.best(candidates)
        yield Choice(row, score)
        if problem.taken and problem.taken[-1] == row:  # a quota may have refused it
            worth.add(row)


class _Worth:
    """What each row is worth beyond those taken.

    (I + αF)⁻¹ = I - Σ_j u_j u_jᵀ, where u_j is what the j-th row taken adds. So x·(I + αF)⁻¹·x of a unit row x is
    1 - Σ_j (x·u_j)², of which each row keeps how far it has been summed up.
    """

    def __init__(self, rows: "UnitRows", weights: Floats, settings: SpiceSettings) -> None:
        self._rows, self._weights = rows, weights
        self._scale, self._penalty = settings.fisher_scale, settings.conflict_penalty
        self._new = np.empty((64, rows.k))  # the u_j, and room for more
        self._num_new = 0
        self._sum = np.zeros(rows.k)  # of the rows taken, weighted
        self._left = np.ones(rows.num_rows)  # 1 - Σ_j (x·u_j)²
        self._num_summed = np.zeros(rows.num_rows, np.intp)  # of how many j
        self._bounds = self._information(np.arange(rows.num_rows))

    def best(self, candidates: Rows) -> tuple[int, float]:
        """The candidate of highest worth, and its worth."""
        worth = np.full(len(candidates), -np.inf)
        best, at_once = -np.inf, _AT_ONCE
        while (unseen := np.flatnonzero((worth == -np.inf) & (self._bounds[candidates] >= best - 2 * GRAIN))).size:
            if unseen.size > at_once:
                unseen = np.sort(unseen[np.argpartition(self._bounds[candidates[unseen]], -at_once)[-at_once:]])
            worth[unseen] = self._judge(candidates[unseen])
            best, at_once = float(worth.max()), 4 * at_once
        place = int(np.flatnonzero(worth >= best - GRAIN)[0])
        return int(candidates[place]), float(worth[place])

    def add(self, row: int) -> None:
        """Count `row` among those taken."""
        weight = self._weights[row]
        if weight == 0:
            return
        unit, earlier = self._rows.unit(row), self._new[: self._num_new]
        if self._num_new == len(self._new):
            self._new = np.concatenate([self._new, np.empty_like(self._new)])
        new = unit - earlier.T @ (earlier @ unit)
        self._new[self._num_new] = new / np.sqrt(unit @ new + 1 / (self._scale * weight**2))
        self._num_new += 1
        self._sum += weight * unit

    def _judge(self, rows: Rows) -> Floats:
        """The worth of each of `rows` (n,), exactly."""
        length = float(np.linalg.norm(self._sum))
        mean = self._sum / length if length > GRAIN else np.zeros_like(self._sum)
        conflict = np.empty(len(rows))
        # rows that were looked at as early as each other lack the same u_j
        for num_summed in np.unique(self._num_summed[rows]).tolist():
            ours = np.flatnonzero(self._num_summed[rows] == num_summed)
            directions = np.concatenate([self._new[num_summed : self._num_new], mean[None]])
            products = self._rows.over_units(rows[ours], partial(_products, directions))
            self._left[rows[ours]] -= np.square(products[:, :-1]).sum(axis=1)
            conflict[ours] = np.maximum(0, -products[:, -1])
        self._num_summed[rows] = self._num_new
        self._bounds[rows] = self._information(rows)
        return self._bounds[rows] - self._penalty * conflict

    def _information(self, rows: Rows) -> Floats:
        return np.log1p(self._scale * np.square(self._weights[rows]) * np.maximum(self._left[rows], 0))


def _products(directions: Floats, units: Floats) -> Floats:
    return units @ directions.T


SPICE = SelectorKind(
    replays=False,  # weights are over the highest agreement in the pool
    line="again and again the row that adds most information for the target, less its conflict with those taken",
    source="Chang et al., ICLR 2026, arXiv 2601.23155, for a target",
    needs=lambda _: "vectors",
    settings=SpiceSettings,
    shared={OpposedSettings: lambda _: True, CandidateSettings: lambda _: True},
    select=spice,
    score="what the row adds to the log-determinant of the Fisher matrix of the rows taken before, less the penalty for"
    " its conflict with their mean",
    score_unit="nats",
)
