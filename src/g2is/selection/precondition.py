"""Gradients times the damped inverse root of a second moment, so that what most rows share counts less in a cosine.

With R_pool the mean of x xᵀ over the rows of the pool and R_target over those of the target, each over its own trace,

    M = (1 - mix) · R_pool + mix · R_target,        and every row becomes (M + damping/k · I)^(-1/2) x

(TrackStar, arXiv 2410.17413; damping in units of the mean eigenvalue, 1/k, as in bergson's code). As there, x are
gradients with the lengths they have, and it is the outcome that is brought to unit length: a second moment says what
long gradients have in common. Each R is over its own trace because steps Γ of the pool and plain gradients of the
target have no unit in common, so that the mix would mean another thing for each model. Of several targets R_target is
the mean of theirs: each counts as much, however many examples it has.

Only products of rows are ever looked at, and they are the same for every root of the inverse. So one is taken that
needs no decomposition but the pool's, R_pool = V diag(λ) Vᵀ, which serves every target, damping and mix. In the basis
of its eigenvectors, and over the root of D = (1 - mix) λ + damping/k, all that is left is the target's few rows:

    D^(-1/2) Vᵀ (M + damping/k · I) V D^(-1/2) = I + SᵀS,        S the target's rows so changed, times a weight,

and with S = A diag(s) Bᵀ the inverse root of that is I + B diag(1/√(1 + s²) - 1) Bᵀ, exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from g2is.errors import SelectionError
from g2is.machine.memory import available_memory, fits_in_memory
from g2is.selection.arrays import Floats
from g2is.store.second_moments import Decomposition


def bytes_to_decompose(k: int) -> int:
    """Bytes of memory that a second moment of k coordinates takes to decompose: five matrices k × k of float64."""
    return 5 * 8 * k**2


class SecondMoment:
    """The sum of x xᵀ over rows that come block by block: k × k, and as much again for what a block adds."""

    def __init__(self, k: int) -> None:
        """Raise SelectionError where memory will not hold five matrices k × k, which it takes to decompose one."""
        num_bytes = bytes_to_decompose(k)
        if not fits_in_memory(num_bytes):
            raise SelectionError(
                f"selection.precondition: expected {num_bytes / 2**30:.1f} GiB of memory to decompose a second moment"
                f" of {k} × {k}, found {available_memory() / 2**30:.1f} GiB; leave it out, or use rows of fewer"
                " coordinates (gradients.projection.dim, in another --store)"
            )
        self._sum, self._added = np.zeros((k, k)), np.empty((k, k))
        self._longest = 0.0

    def add(self, units: Floats, lengths: Floats) -> None:
        """Count the rows of unit vectors `units` (b, k) and `lengths` (b,), finite and not below 0."""
        longest = float(lengths.max(initial=0.0))
        if longest > self._longest:  # all is kept over the longest, whose square float64 might not hold
            self._sum *= (self._longest / longest) ** 2
            self._longest = longest
        if self._longest > 0:
            rows = units * (lengths / self._longest)[:, None]
            self._sum += np.matmul(rows.T, rows, out=self._added)

    def decomposed(self) -> Decomposition:
        """Decompose what was counted, in float64; nothing can be added then."""
        del self._added
        values, vectors = np.linalg.eigh(self._sum)
        values = np.maximum(values, 0.0)  # rounding may leave some just below
        return Decomposition(values / (values.sum() or 1.0), vectors)


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """What rows are multiplied by: the columns of `vectors` (k, k), then `scale` (k,) coordinate by coordinate.

    Then the part along `directions` (r, k), unit and orthogonal to one another, changes by `change` (r,), a factor
    each less 1.
    """

    vectors: Floats
    scale: Floats
    directions: Floats
    change: Floats

    @classmethod
    def of(cls, pool: Decomposition, targets: Sequence[Floats], damping: float, mix: float) -> "Preconditioner":
        """That of a pool and the rows (M, k) of each target, with their lengths; those of zeros say nothing."""
        k = len(pool.values)
        scale = 1.0 / np.sqrt((1.0 - mix) * pool.values + damping / k)
        weighted = [_over_trace(rows) * np.sqrt(mix / len(targets)) for rows in targets] if mix else []
        if not weighted:
            return cls(pool.vectors, scale, np.empty((0, k)), np.empty(0))
        rows = (np.concatenate(weighted) @ pool.vectors) * scale
        _, strength, directions = np.linalg.svd(rows, full_matrices=False)
        return cls(pool.vectors, scale, directions, 1.0 / np.sqrt(1.0 + strength**2) - 1.0)

    def __call__(self, rows: Floats) -> Floats:
        """The `rows` (b, k), of any length, multiplied: (b, k), not brought to unit length; zeros stay zeros."""
        found = (rows @ self.vectors) * self.scale
        if len(self.change):
            found += ((found @ self.directions.T) * self.change) @ self.directions
        return found


def _over_trace(rows: Floats) -> Floats:
    """`rows` (M, k) times what makes the trace of the sum of their x xᵀ 1; as they are if all are zero."""
    largest = float(np.abs(rows).max(initial=0.0))
    if largest == 0:
        return rows
    rows = rows / largest  # first, so that no square under- or overflows
    return rows / np.linalg.norm(rows)
