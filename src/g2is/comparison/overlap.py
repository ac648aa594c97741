"""How alike selections are: between methods, and of one method between seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True, eq=False)
class Overlap:
    """How much the `methods` (M) take of the same rows; means over the seeds that both have, NaN where there is none.

    `jaccard` (M, M): rows that both take over rows that either takes. `shared_fraction` (M, M): of the rows that the
    method of this line takes, those that the method of this column takes too.
    """

    methods: Sequence[str]
    jaccard: np.ndarray
    shared_fraction: np.ndarray


@dataclass(frozen=True)
class Stability:
    """How alike one method's selections of different seeds are, means over pairs of seeds, and what chance would give.

    `jaccard` and `shared_fraction` of the smaller selection; `chance_*` of random draws of those sizes from the pool:
    n/N of the rows are shared, and the Jaccard index is the one of the expected numbers of rows.
    """

    jaccard: float
    shared_fraction: float
    chance_jaccard: float
    chance_shared_fraction: float
    num_pairs: int


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Rows in both over rows in either; NaN if both are empty. Each (n,) int64 without repeats."""
    num_both = _num_both(one, other)
    return _over(num_both, len(one) + len(other) - num_both)


def shared_fraction(one: np.ndarray, other: np.ndarray) -> float:
    """The part of `one` that is in `other` too; NaN if `one` is empty. Each (n,) int64 without repeats."""
    return _over(_num_both(one, other), len(one))


def overlap(selections: Mapping[str, Mapping[int, np.ndarray]]) -> Overlap:
    """Compare the selections, record numbers (n,) int64 by method and seed, of one target and budget."""
    methods = list(selections)
    found = Overlap(methods, *np.full((2, len(methods), len(methods)), np.nan))
    for i, of_one in enumerate(selections.values()):
        for j, of_other in enumerate(selections.values()):
            pairs = [(of_one[seed], of_other[seed]) for seed in sorted(of_one.keys() & of_other.keys())]
            if pairs:
                found.jaccard[i, j] = np.mean([jaccard(*pair) for pair in pairs])
                found.shared_fraction[i, j] = np.mean([shared_fraction(*pair) for pair in pairs])
    return found


def mean_overlap(overlaps: Sequence[Overlap]) -> Overlap:
    """The mean over targets, all of the same methods; a pair counts where it was compared."""
    methods = overlaps[0].methods
    found = Overlap(methods, *np.full((2, len(methods), len(methods)), np.nan))
    for name in ("jaccard", "shared_fraction"):
        values = np.array([getattr(of_target, name) for of_target in overlaps])
        compared = ~np.isnan(values)
        sums, counts = np.where(compared, values, 0.0).sum(0), compared.sum(0)
        np.divide(sums, counts, out=getattr(found, name), where=counts > 0)
    return found


def stability(selections: Sequence[np.ndarray], num_pool_rows: int) -> Stability | None:
    """Compare one method's selections (n,) int64 from a pool of `num_pool_rows`, one a seed; None if fewer than two."""
    pairs = list(combinations(selections, 2))
    if not pairs:
        return None
    by_chance = [len(one) * len(other) / num_pool_rows for one, other in pairs]
    return Stability(
        jaccard=float(np.mean([jaccard(*pair) for pair in pairs])),
        shared_fraction=float(np.mean([shared_fraction(*sorted(pair, key=len)) for pair in pairs])),
        chance_jaccard=_mean([_over(num, len(a) + len(b) - num) for num, (a, b) in zip(by_chance, pairs, strict=True)]),
        chance_shared_fraction=_mean([max(len(a), len(b)) / num_pool_rows for a, b in pairs]),
        num_pairs=len(pairs),
    )


def mean_stability(found: Sequence[Stability]) -> Stability | None:
    """The mean over targets; None if there is none."""
    if not found:
        return None
    return Stability(
        jaccard=_mean([of_target.jaccard for of_target in found]),
        shared_fraction=_mean([of_target.shared_fraction for of_target in found]),
        chance_jaccard=_mean([of_target.chance_jaccard for of_target in found]),
        chance_shared_fraction=_mean([of_target.chance_shared_fraction for of_target in found]),
        num_pairs=sum(of_target.num_pairs for of_target in found),
    )


def _num_both(one: np.ndarray, other: np.ndarray) -> int:
    return len(np.intersect1d(one, other, assume_unique=True))


def _over(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
