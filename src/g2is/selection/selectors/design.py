"""Joint choice: each step takes the row that says most about the target's examples, beyond what those taken say.

Experimental design for the target (transductive: Yu, Bi and Tresp, ICML 2006; for fine-tuning, over embeddings and
without a sign: Hübotter et al., SIFT, ICLR 2025), here over the gradient graph. Rows are measurements, their cosines a
covariance; a row's answer of n tokens is a measurement with noise in proportion to 1/n. With C(t, x) the covariance
of target example t and row x given the rows taken, and V(x) the row's variance given them, a row is worth

    Σ_t max(C(t, x), 0)² / (V(x) + noise(x)),    noise(x) = noise · (median number of answer tokens) / n(x),

the fall of the target examples' variances. Agreement, coverage and redundancy are one number: C is the agreement with
what is not covered yet, and falls where others have covered it; V falls for a row that repeats others, and C with it. A
row that conflicts with an example (C < 0) is worth nothing for it.
"""

from collections.abc import Iterator

import numpy as np

from g2is.selection.problem import Choice, Problem
from g2is.selection.selectors.greedy import take_best
from g2is.selection.similarity import Floats, Rows, UnitRows


def design(problem: Problem) -> Iterator[Choice]:
    """Take, again and again, the open row of highest worth. Values are float64's; ties go to the lowest row.

    Raises SelectionError if the representation has no vectors.
    """
    rows, targets = problem.vectors()
    return take_best(problem, _Posterior(rows, targets, problem.similarity, _noise(problem)))


def _noise(problem: Problem) -> Floats:
    noise = np.full(len(problem.open), problem.settings.noise)
    if problem.num_answer_tokens is None:
        return noise
    num = np.maximum(problem.num_answer_tokens, 1)
    return noise * (np.median(num) / num)


class _Posterior:
    """C and V of every row, kept up as rows are added: one pass over the pool each.

    With x̃_j the j-th row taken, less what the earlier ones say of it, over the root of its variance and noise:
    C(t, x) = t·x - Σ_j (t·x̃_j)(x·x̃_j) and V(x) = 1 - Σ_j (x·x̃_j)².
    """

    def __init__(self, rows: UnitRows, targets: Floats, similarity: Floats, noise: Floats) -> None:
        self._rows, self._targets, self._similarity, self._noise = rows, targets, similarity, noise
        self._num_taken = 0
        self._all_taken = np.empty((64, rows.k))  # the x̃_j, and room for more
        self._all_of_targets = np.empty((64, len(targets)))  # t·x̃_j
        self._covariances = similarity.copy()  # (N, M), screened
        self._variances = np.ones(rows.num_rows)
        # The most by which a row's covariances (their Euclidean norm) and its variance may be off; of the former, what
        # has gathered since the row was last computed exactly.
        self._gathered = 0.0
        self._gathered_before = np.zeros(rows.num_rows)
        self._variance_off = np.zeros(rows.num_rows)

    @property
    def _taken(self) -> Floats:
        return self._all_taken[: self._num_taken]

    @property
    def _of_targets(self) -> Floats:
        return self._all_of_targets[: self._num_taken]

    def add(self, row: int) -> None:
        unit = self._rows.unit(row)
        rest = unit - self._taken.T @ (self._taken @ unit)
        rest /= np.sqrt(unit @ rest + self._noise[row])
        of_targets = self._targets @ rest
        length = float(np.linalg.norm(rest))
        if self._num_taken == len(self._all_taken):
            self._all_taken = np.concatenate([self._all_taken, np.empty_like(self._all_taken)])
            self._all_of_targets = np.concatenate([self._all_of_targets, np.empty_like(self._all_of_targets)])
        self._all_taken[self._num_taken], self._all_of_targets[self._num_taken] = rest, of_targets
        self._num_taken += 1
        if not length:  # nothing is left of it to say
            return
        products, off = self._rows.cosines(rest / length) * length, self._rows.margin * length
        self._covariances -= products[:, None] * of_targets
        self._variances -= products**2
        self._gathered += float(np.linalg.norm(of_targets)) * off
        self._variance_off += (2 * np.abs(products) + off) * off

    def screened(self, candidates: Rows) -> tuple[Floats, Floats]:
        """Worth of the candidates, and the most by which each may be off."""
        explained = _explained(self._covariances[candidates])
        off = self._gathered - self._gathered_before[candidates]
        explained_off = (2 * np.sqrt(explained) + off) * off
        noise, variance_off = self._noise[candidates], self._variance_off[candidates]
        total = np.maximum(self._variances[candidates], 0) + noise
        worth = explained / total
        return worth, (explained_off + worth * variance_off) / np.maximum(total - variance_off, noise)

    def judge(self, rows: Rows) -> Floats:
        products = self._rows.over_units(rows, lambda units: units @ self._taken.T)
        self._covariances[rows] = self._similarity[rows] - products @ self._of_targets
        self._variances[rows] = 1 - np.sum(products**2, axis=1)
        self._gathered_before[rows] = self._gathered
        self._variance_off[rows] = 0.0
        return _explained(self._covariances[rows]) / (np.maximum(self._variances[rows], 0) + self._noise[rows])


def _explained(covariances: Floats) -> Floats:
    positive = np.maximum(covariances, 0)
    return np.einsum("nm,nm->n", positive, positive)
