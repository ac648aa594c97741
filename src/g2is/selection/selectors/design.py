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
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from g2is.methods import CandidateSettings, OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import Floats, Rows
from g2is.selection.problem import Choice, Problem
from g2is.selection.selectors.greedy import Ahead, take_best, watched

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows


class DesignSettings(Section):
    """How much a row says."""

    noise: float = Field(
        1.0,
        ge=1e-9,  # beyond these bounds float64 has no digits left to tell rows apart
        le=1e9,
        description="how little one row says; less makes repetition worth less",
    )


def design(problem: Problem) -> Iterator[Choice]:
    """Take, again and again, the open row of highest worth, until none is worth anything: each one left conflicts with
    every target example, or is orthogonal to it. Rows that oppose every example are passed over, whatever was taken.

    Values are float64's; ties go to the lowest row.

    Raises SelectionError if the representation has no vectors.
    """
    rows, targets = problem.vectors()
    noise = problem.settings.part(DesignSettings).noise
    for choice in take_best(problem, _Posterior(rows, targets, problem.similarity, noise)):
        if choice.score <= 0:
            return
        yield choice


class _Posterior:
    """C and V of every row, kept up as rows are added.

    With x̃_j the j-th row taken, less what the earlier ones say of it, over the root of its variance and noise:
    C(t, x) = t·x - Σ_j (t·x̃_j)(x·x̃_j) and V(x) = 1 - Σ_j (x·x̃_j)².
    """

    def __init__(self, rows: "UnitRows", targets: Floats, similarity: Floats, noise: float) -> None:
        self._rows, self._targets, self._similarity, self._noise = rows, targets, similarity, noise
        self._num_taken = 0
        # The x̃_j of the rows taken, after them those of rows that are foreseen, and room for more.
        self._new = np.empty((64, rows.k))
        self._new_of_targets = np.empty((64, len(targets)))  # t·x̃_j
        self._covariances = similarity.copy()  # (N, M), screened
        self._variances = np.ones(rows.num_rows)
        self._scratch = np.empty_like(self._covariances)
        self._ahead = Ahead(rows)
        self._watched: Rows = np.empty(0, np.intp)
        # The most by which a row's covariances (their Euclidean norm) and its variance may be off; of the former, what
        # has gathered since the row was last computed exactly.
        self._gathered = 0.0
        self._gathered_before = np.zeros(rows.num_rows)
        self._variance_off = np.zeros(rows.num_rows)

    def add(self, row: int) -> None:
        products = self._ahead.products(row, lambda num: self._foresee(row, num))
        new, of_targets = self._new[self._num_taken], self._new_of_targets[self._num_taken]
        length = float(np.linalg.norm(new))
        self._num_taken += 1
        products, off = products * length, self._rows.margin * length
        self._covariances -= np.multiply(products[:, None], of_targets, out=self._scratch)
        self._variances -= products**2
        self._gathered += float(np.linalg.norm(of_targets)) * off
        self._variance_off += (2 * np.abs(products) + off) * off

    def _foresee(self, row: int, num: int) -> list[tuple[int, Floats]]:
        """The directions x̃/‖x̃‖ of `row` and of the `num` - 1 rows that would follow it among those watched."""
        rows = self._watched[self._watched != row]
        units = self._rows.over_units(rows, lambda units: units)
        covariances, variances = self._covariances[rows], self._variances[rows]
        foreseen = []
        for place in range(self._num_taken, self._num_taken + min(num, len(rows) + 1)):
            new, of_targets = self._say(row, place)
            foreseen.append((row, new / (float(np.linalg.norm(new)) or 1.0)))
            products = units @ new
            covariances -= products[:, None] * of_targets
            variances -= products**2
            worth = _explained(covariances) / (np.maximum(variances, 0) + self._noise)
            worth[np.isin(rows, [row for row, _ in foreseen])] = -1.0
            if len(rows):
                row = int(rows[worth.argmax()])
        return foreseen

    def _say(self, row: int, place: int) -> tuple[Floats, Floats]:
        """x̃ (k,) of `row` as the one taken after the first `place`, and its products (M,) with the targets; kept."""
        if place == len(self._new):
            self._new = np.concatenate([self._new, np.empty_like(self._new)])
            self._new_of_targets = np.concatenate([self._new_of_targets, np.empty_like(self._new_of_targets)])
        unit, earlier = self._rows.unit(row), self._new[:place]
        new = unit - earlier.T @ (earlier @ unit)
        new /= np.sqrt(unit @ new + self._noise)
        self._new[place], self._new_of_targets[place] = new, self._targets @ new
        return self._new[place], self._new_of_targets[place]

    def screened(self, candidates: Rows) -> tuple[Floats, Floats]:
        """Worth of the candidates, and the most by which each may be off."""
        explained = _explained(self._covariances, self._scratch)[candidates]
        off = self._gathered - self._gathered_before[candidates]
        explained_off = (2 * np.sqrt(explained) + off) * off
        variance_off = self._variance_off[candidates]
        total = np.maximum(self._variances[candidates], 0) + self._noise
        worth = explained / total
        self._watched = watched(candidates, worth)
        return worth, (explained_off + worth * variance_off) / np.maximum(total - variance_off, self._noise)

    def judge(self, rows: Rows) -> Floats:
        new, of_targets = self._new[: self._num_taken], self._new_of_targets[: self._num_taken]
        products = self._rows.over_units(rows, lambda units: units @ new.T)
        self._covariances[rows] = self._similarity[rows] - products @ of_targets
        self._variances[rows] = 1 - np.sum(products**2, axis=1)
        self._gathered_before[rows] = self._gathered
        self._variance_off[rows] = 0.0
        return _explained(self._covariances[rows]) / (np.maximum(self._variances[rows], 0) + self._noise)


def _explained(covariances: Floats, scratch: Floats | None = None) -> Floats:
    positive = np.maximum(covariances, 0, out=scratch)
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
