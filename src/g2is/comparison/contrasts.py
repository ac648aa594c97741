"""Methods against each other, on one target or on the mean over several, over the seeds that both have.

`full` takes no part in that: no selection's seed is in it, nor a budget. Wherever it is looked at, it is the mean over
all of its seeds, as `untuned` is the same for every seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from g2is.comparison.cells import Cell, Key, key_of
from g2is.comparison.statistics import (
    NOTHING,
    NUM_RESAMPLES,
    Estimate,
    Sample,
    estimate,
    mean_over_targets,
    recovered_fraction,
    resampled_ratios,
    verdict,
)
from g2is.methods import FULL, RANDOM, UNTUNED

Seeds = tuple[int | None, ...]  # (None,) where none of the methods has seeds
Quantity = Callable[[Cell], tuple[np.ndarray, np.ndarray] | None]


@dataclass(frozen=True)
class Contrast:
    """A method's test loss minus another's, on the mean over targets: below zero is better.

    `difference` in nats per answer token; `relative` the same with each target's divided by random's loss there, which
    the `verdict` is about; `seeds` by target are those averaged over. Of the `num_seeds` that all targets have,
    `num_agreeing` have, taken alone, a value on the same side of zero.
    """

    difference: Estimate
    relative: Estimate
    verdict: str
    seeds: Mapping[str, Seeds]
    num_seeds: int
    num_agreeing: int


@dataclass(frozen=True)
class Recovered:
    """R, the part of the full pool's gain over random that a method has too, or the `reason` why there is none.

    `seeds` by target are those averaged over: of the method and random alike, and all that the full pool has.
    """

    fraction: Estimate
    reason: str | None
    seeds: Mapping[str, Seeds] = field(default_factory=dict)


class Samples:
    """A resampled quantity of every finished cell: a (1 + R,) sample each, paired within a target."""

    def __init__(self, cells: Mapping[Key, Cell], quantity: Quantity, seed: int, num_resamples: int = NUM_RESAMPLES):
        """`quantity` gives numerators and denominators (T,) of a cell, or None where it has none."""
        self._of: dict[Key, Sample] = {}
        for target in dict.fromkeys(key.target for key in cells):
            found = {key: quantity(cell) for key, cell in cells.items() if key.target == target}
            present = {key: parts for key, parts in found.items() if parts is not None}
            if present:
                numerators, denominators = (np.stack(parts, axis=1) for parts in zip(*present.values(), strict=True))
                columns = resampled_ratios(numerators, denominators, seed, target, num_resamples).T
                self._of |= dict(zip(present, np.ascontiguousarray(columns), strict=True))
        self._seeds: dict[Key, set[int | None]] = {}
        for key in self._of:
            self._seeds.setdefault(key._replace(seed=None), set()).add(key.seed)

    def seeds(self, methods: Sequence[str], target: str, budget: str) -> Seeds:
        """The seeds that all `methods` have, but for `full` beside others, which is there for each.

        Empty if one of them has no cell, or if they share none.
        """
        own = {method: self._seeds.get(key_of(method, target, budget, None), set()) for method in methods}
        if not all(own.values()):
            return ()
        with_seeds = [seeds for method, seeds in own.items() if method not in (UNTUNED, FULL)]
        if not with_seeds:
            with_seeds = [own[FULL]] if FULL in own else []
        if not with_seeds:
            return (None,)
        return tuple(sorted(seed for seed in set.intersection(*with_seeds) if seed is not None))

    def mean(self, method: str, target: str, budget: str, seeds: Seeds) -> Sample:
        """A method's sample, averaged over `seeds`, which it must have; that of `full` over all of its own."""
        if method == FULL:
            seeds = self.seeds([FULL], target, budget)
        return self.mean_of(method, target, budget, seeds)

    def mean_of(self, method: str, target: str, budget: str, seeds: Seeds) -> Sample:
        """A method's sample, averaged over just these `seeds`, which it must have."""
        keys = dict.fromkeys(key_of(method, target, budget, seed) for seed in seeds)
        return np.mean([self._of[key] for key in keys], axis=0)

    def mean_over(self, method: str, targets: Sequence[str], budget: str) -> Sample | None:
        """The same over all seeds the method has, averaged over `targets`; None if it lacks one of these."""
        seeds = {target: self.seeds([method], target, budget) for target in targets}
        if not targets or not all(seeds.values()):
            return None
        return mean_over_targets([self.mean(method, target, budget, seeds[target]) for target in targets])

    @np.errstate(invalid="ignore", divide="ignore")
    def difference(self, method: str, other: str, target: str, budget: str, seeds: Seeds) -> Sample:
        """A method's sample minus another's."""
        return self.mean(method, target, budget, seeds) - self.mean(other, target, budget, seeds)

    @np.errstate(invalid="ignore", divide="ignore")
    def relative(self, method: str, other: str, target: str, budget: str, seeds: Seeds) -> Sample:
        """The difference divided by random's sample."""
        return self.difference(method, other, target, budget, seeds) / self.mean(RANDOM, target, budget, seeds)


def contrast(losses: Samples, method: str, other: str, targets: Sequence[str], budget: str) -> Contrast | None:
    """Compare two methods on the mean over `targets`; None where they and `random` share no seed on one of these."""
    seeds = {target: losses.seeds([method, other, RANDOM], target, budget) for target in targets}
    if not targets or not all(seeds.values()):
        return None

    def relative(seeds: Mapping[str, Seeds]) -> Sample:
        return mean_over_targets([losses.relative(method, other, target, budget, seeds[target]) for target in targets])

    found = estimate(relative(seeds))
    shared = set.intersection(*(set(of_target) for of_target in seeds.values()))
    alone = [relative(dict.fromkeys(targets, (seed,)))[0] for seed in shared]
    return Contrast(
        difference=estimate(
            mean_over_targets([losses.difference(method, other, of, budget, seeds[of]) for of in targets])
        ),
        relative=found,
        verdict=verdict(found),
        seeds=seeds,
        num_seeds=len(shared),
        num_agreeing=int(np.sum(np.sign(alone) == np.sign(found.value))),
    )


def recovered(losses: Samples, method: str, targets: Sequence[str], budget: str) -> Recovered:
    """R of a method on the mean over `targets`."""
    for needed in (RANDOM, FULL, method):
        if lacking := [target for target in targets if not losses.seeds([needed], target, budget)]:
            return Recovered(NOTHING, f"{needed} is missing on {', '.join(lacking)}")
    seeds = {target: losses.seeds([method, RANDOM, FULL], target, budget) for target in targets}
    if not targets or not all(seeds.values()):
        return Recovered(NOTHING, f"{method}, {RANDOM} and {FULL} have no seed in common")
    gains, full_gains = (
        [losses.relative(RANDOM, of, target, budget, seeds[target]) for target in targets] for of in (method, FULL)
    )
    fraction = recovered_fraction(gains, full_gains)
    if fraction is None:
        return Recovered(NOTHING, f"{FULL} is not clearly better than {RANDOM}")
    return Recovered(fraction, None, seeds)


def range_over_seeds(losses: Samples, method: str, target: str, budget: str) -> tuple[float, float] | None:
    """The lowest and highest test loss of a method's seeds, nats; None with fewer than two."""
    seeds = losses.seeds([method], target, budget)
    values = [losses.mean_of(method, target, budget, (seed,))[0] for seed in seeds]
    return _range(values) if len(values) > 1 else None


def relative_range_over_seeds(
    losses: Samples, method: str, targets: Sequence[str], budget: str
) -> tuple[float, float] | None:
    """The same of the mean over `targets`, each seed's loss divided by that of random rows with the same seed.

    Of the seeds that all targets have, `full` too.
    """
    of_each = [set(losses.seeds([of], target, budget)) for of in (method, RANDOM) for target in targets]
    shared = set.intersection(*of_each) if of_each else set()
    if method in (UNTUNED, RANDOM) or len(shared) < 2:
        return None

    @np.errstate(invalid="ignore", divide="ignore")
    def ratio(target: str, seed: int | None) -> float:
        own, of_random = (losses.mean_of(of, target, budget, (seed,))[0] for of in (method, RANDOM))
        return float(own / of_random)

    return _range([float(np.mean([ratio(target, seed) for target in targets])) for seed in shared])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and highest; both NaN if one is."""
    return float(np.min(values)), float(np.max(values))
