"""Joint choice: each step takes the row that says most about the target's examples, beyond what those taken say.

Experimental design for the target (transductive: Yu, Bi and Tresp, ICML 2006; for fine-tuning, over embeddings and
without a sign: Hübotter et al., SIFT, ICLR 2025), here over the gradient graph. Rows are measurements, their cosines a
covariance. With C(t, x) the covariance of target example t and row x given the rows taken, and V(x) the row's variance
given them, a row is worth

    Σ_t max(C(t, x), 0)² / (V(x) + noise),

the fall of the target examples' variances. Agreement, coverage and redundancy are one number: C is the agreement with
what is not covered yet, and falls where others have covered it; V falls for a row that repeats others, and C with it. A
row that conflicts with an example (C < 0) is worth nothing for it. One that opposes every example is not taken, though
C may have come above 0: both may point away from a row that was taken.

With `rounds`, the budget is spent in so many parts. After each but the last, the model is tuned on what was taken so
far, and t is the example's gradient there: what it still asks for. The rows taken stay measurements of it, and x the
row's gradient before. A part ends early where no row is worth anything; the next one may find some.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from g2is.errors import SelectionError
from g2is.methods import CandidateSettings, OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import GRAIN, MOST_AHEAD, UNIT, Floats, Rows
from g2is.selection.problem import Choice, Problem
from g2is.selection.selectors.greedy import Ahead, take_best, watched

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows


_CACHED_VALUES = 2**18  # of C at a time, and as many beside them: 2 MB, which a core's cache holds in part
_SUMMED = 256  # rows taken that are added up at a time


class DesignSettings(Section):
    """How much a row says."""

    # outside these bounds rows differ in worth by less than rounding does
    noise: Annotated[float, Field(ge=1e-5, le=1e5)] | Literal["proportional"] = Field(
        1.0,
        description="how little one row says; less makes repetition worth less; proportional: the target's budget in"
        " percent of the pool, so 1 at 1% and 5 at 5%",
    )
    rounds: int = Field(
        1,
        ge=1,
        le=100,
        description="equal parts in which the budget is spent; before each but the first the warm-up's adapter is tuned"
        " on what was taken so far, as the warm-up was trained, and the target's gradients are taken anew",
    )

    def noise_at(self, share: float) -> float:
        """The noise of a target whose budget is `share` of what all rows of the pool cost."""
        return 100 * share if isinstance(self.noise, str) else self.noise


def design(problem: Problem) -> Iterator[Choice]:
    """Take, again and again, the open row of highest worth, until none is worth anything: each one left conflicts with
    every target example, or is orthogonal to it. Rows that oppose every example are passed over, whatever was taken.

    Values are float64's; ties go to the lowest row.

    Raises SelectionError if the representation has no vectors, or there is no model that `rounds` could tune.
    """
    of = problem.settings.part(DesignSettings)
    for number in range(1, of.rounds + 1):
        num_before = len(problem.taken)
        asked = problem if number == 1 else replace(problem, targets=_renewed(problem))
        rows, targets = asked.vectors()
        posterior = _Posterior(rows, targets, asked.similarity, of.noise_at(problem.share), problem.taken)
        for choice in take_best(asked, posterior):
            if choice.score <= 0:
                break
            yield choice
            if number < of.rounds and int(problem.costs[problem.taken].sum()) * of.rounds >= problem.budget * number:
                break
        if len(problem.taken) == num_before:
            return  # the model would be tuned on the same rows again


def _renewed(problem: Problem) -> np.ndarray:
    if problem.renew is None:
        raise SelectionError(
            "selection.rounds: expected a model to tune and gradients to take anew, found rows that were computed"
            " before; leave it out"
        )
    return problem.renew(problem.taken)


class _Posterior:
    """C and V of every row, kept up as rows are added.

    With x̃_j the j-th row taken, less what the earlier ones say of it, over the root of its variance and noise:
    C(t, x) = t·x - Σ_j (t·x̃_j)(x·x̃_j) and V(x) = 1 - Σ_j (x·x̃_j)².
    """

    def __init__(
        self, rows: "UnitRows", targets: Floats, similarity: Floats, noise: float, taken: Sequence[int] = ()
    ) -> None:
        """`taken` are rows that were added before, to whatever target."""
        self._rows, self._similarity, self._noise = rows, similarity, noise
        self._taken = _Taken(rows.k, targets)
        self._covariances = similarity.astype(np.float32)  # (N, M), screened
        self._variances = np.ones(rows.num_rows)
        self._ahead = Ahead(rows)
        # The most by which a row's covariances (their Euclidean norm) and its variance may be off; of the former, what
        # has gathered since the row was last computed exactly. No covariance is beyond 1, so a row's norm at most √M.
        self._rounding = 1.01 * UNIT * math.sqrt(len(targets))
        self._gathered = self._rounding
        self._gathered_before = np.zeros(rows.num_rows)
        self._variance_off = np.zeros(rows.num_rows)
        # What each row is worth, and the most by which that may be off.
        self._worth, self._off = np.empty(rows.num_rows), np.empty(rows.num_rows)
        self._weigh(np.zeros(rows.num_rows), np.zeros(len(targets)), 0.0)
        if taken:
            for row in taken:
                self._taken.foresee(rows.unit(row), 0, noise)
                self._taken.take()
            self.judge(np.arange(rows.num_rows))
        self._looked_at: tuple[Rows, Floats] = np.empty(0, np.intp), np.empty(0)

    def add(self, row: int) -> None:
        products = self._ahead.products(row, lambda num: self._foresee(row, num))
        new, of_targets = self._taken.take()
        length = float(np.linalg.norm(new))
        off = self._rows.margin * length
        # of float32: a rounding of what is kept, and four of what is taken off
        self._gathered += self._rounding + float(np.linalg.norm(of_targets)) * (off + 1.01 * 4 * UNIT * length)
        self._weigh(products * length, of_targets, off)

    def _weigh(self, products: Floats, of_targets: Floats, off: float) -> None:
        """Count a row among those taken whose `products` (N,) with all rows may be `off`, and weigh all rows anew.

        In one pass over C, some rows at a time: what is not in a core's cache would be read five times. By torch, which
        takes half of numpy's time for it.
        """
        import torch

        from g2is.machine.threads import over_stripes

        at_once, direction = max(1, _CACHED_VALUES // max(1, len(of_targets))), torch.from_numpy(of_targets).float()
        of_sums = 1.01 * (len(of_targets) + 2) * UNIT  # the rounding of squares that are added up

        def weigh(start: int, stop: int) -> None:
            scratch = torch.empty(min(at_once, stop - start), len(of_targets))
            for low in range(start, stop, at_once):
                at = slice(low, min(low + at_once, stop))
                ours, variances, variance_off = products[at], self._variances[at], self._variance_off[at]
                covariances = torch.from_numpy(self._covariances[at])
                covariances.addr_(torch.from_numpy(ours).float(), direction, alpha=-1)
                positive = torch.clamp(covariances, min=0, out=scratch[: len(ours)])
                explained = positive.square_().sum(1).double().numpy()
                variances -= ours**2
                variance_off += (2 * np.abs(ours) + off) * off
                gathered = 1.0001 * (self._gathered - self._gathered_before[at])
                explained_off = (2 * np.sqrt(explained) + gathered) * gathered + of_sums * explained
                total = np.maximum(variances, 0) + self._noise
                worth = self._worth[at] = explained / total
                least = np.maximum(total - variance_off, self._noise)
                self._off[at] = (explained_off + worth * variance_off) / least

        over_stripes(len(products), at_once, weigh)

    def _foresee(self, row: int, num: int) -> list[tuple[int, Floats]]:
        """The directions x̃/‖x̃‖ of `row` and of the `num` - 1 rows that would follow it among those watched."""
        rows = watched(*self._looked_at)
        rows = rows[rows != row]
        units = self._rows.over_units(rows, lambda units: units)
        covariances, variances = self._covariances[rows].astype(np.float64), self._variances[rows]
        foreseen = []
        for place in range(min(num, len(rows) + 1)):
            new, of_targets = self._taken.foresee(self._rows.unit(row), place, self._noise)
            foreseen.append((row, new / (float(np.linalg.norm(new)) or 1.0)))
            products = units @ new
            covariances -= products[:, None] * of_targets
            variances -= products**2
            worth = _explained(covariances) / (np.maximum(variances, 0) + self._noise)
            worth[np.isin(rows, [row for row, _ in foreseen])] = -1.0
            if len(rows):
                row = int(rows[worth.argmax()])
        return foreseen

    def screened(self, candidates: Rows) -> tuple[Floats, Floats]:
        """Worth of the candidates, and the most by which each may be off."""
        worth = self._worth[candidates]
        self._looked_at = candidates, worth
        return worth, self._off[candidates]

    def judge(self, rows: Rows) -> Floats:
        said = self._rows.over_units(rows, self._taken.say_of)
        covariances = self._similarity[rows] - said[:, :-1]
        self._covariances[rows], self._variances[rows] = covariances, 1 - said[:, -1]
        self._gathered_before[rows] = self._gathered - self._rounding
        self._variance_off[rows] = 0.0
        worth = _explained(covariances) / (np.maximum(self._variances[rows], 0) + self._noise)
        self._worth[rows], self._off[rows] = worth, 0.0
        return worth


class _Taken:
    """The x̃_j of the rows taken, after them those of rows that are foreseen, and what they say of other rows.

    Once more are taken than a row has coordinates, their sums say it: A = Σ_j x̃_j x̃_jᵀ and B = Σ_j x̃_j (t·x̃_j) for
    every t. Then Σ_j (x·x̃_j)² = xᵀAx and Σ_j (t·x̃_j)(x·x̃_j) = xᵀB, whose cost no longer grows.
    """

    def __init__(self, k: int, targets: Floats) -> None:
        self._k, self._targets = k, targets
        self._new = np.empty((64, k))
        self._of_targets = np.empty((64, len(targets)))  # t·x̃_j
        self._num = 0  # of rows taken that are not in the sums
        self._sums: tuple[Floats, Floats] | None = None  # A (k, k) and B (k, M)

    def foresee(self, unit: Floats, place: int, noise: float) -> tuple[Floats, Floats]:
        """x̃ (k,) of the row `unit` (k,) as the one taken after `place` foreseen ones, and its products (M,); kept."""
        at = self._num + place
        if at == len(self._new):
            self._new = np.concatenate([self._new, np.empty_like(self._new)])
            self._of_targets = np.concatenate([self._of_targets, np.empty_like(self._of_targets)])
        earlier = self._new[:at]
        new = unit - earlier.T @ (earlier @ unit)
        if self._sums is not None:
            new -= self._sums[0] @ unit
        new /= np.sqrt(unit @ new + noise)
        self._new[at], self._of_targets[at] = new, self._targets @ new
        return self._new[at], self._of_targets[at]

    def take(self) -> tuple[Floats, Floats]:
        """Count the row that was foreseen first among those taken: its x̃ (k,) and products (M,)."""
        new, of_targets = self._new[self._num].copy(), self._of_targets[self._num].copy()
        self._num += 1
        if self._num >= _SUMMED and (self._sums is not None or self._num >= self._k):
            self._add_up()
        return new, of_targets

    def _add_up(self) -> None:
        new, of_targets = self._new[: self._num], self._of_targets[: self._num]
        sums = new.T @ new, new.T @ of_targets
        self._sums = sums if self._sums is None else (self._sums[0] + sums[0], self._sums[1] + sums[1])
        foreseen = slice(self._num, min(self._num + MOST_AHEAD, len(self._new)))
        self._num, place = 0, foreseen.stop - foreseen.start
        self._new[:place], self._of_targets[:place] = self._new[foreseen].copy(), self._of_targets[foreseen].copy()

    def say_of(self, units: Floats) -> Floats:
        """Σ_j (t·x̃_j)(x·x̃_j) of every t, then Σ_j (x·x̃_j)², of unit vectors x (b, k): (b, M + 1)."""
        products = units @ self._new[: self._num].T
        said = np.column_stack([products @ self._of_targets[: self._num], np.sum(products**2, axis=1)])
        if self._sums is not None:
            said[:, :-1] += units @ self._sums[1]
            said[:, -1] += np.sum((units @ self._sums[0]) * units, axis=1)
        return said


def _explained(covariances: Floats) -> Floats:
    positive = np.where(covariances > GRAIN, covariances, 0)  # what has been said is 0 but for rounding
    return np.einsum("nm,nm->n", positive, positive)


DESIGN = SelectorKind(
    line="again and again the row that says most about the target's examples, beyond what those taken say",
    source="g2is, after Yu et al., ICML 2006, and arXiv 2410.08020",
    needs=lambda _: "vectors",
    settings=DesignSettings,
    shared={OpposedSettings: lambda _: True, CandidateSettings: lambda _: True},
    select=design,
    score="what the row says of the target beyond the rows taken before: by how much it lowers the variances of the"
    " target's examples",
    score_unit="variance, summed over the target's examples, of which each begins with 1",
)
