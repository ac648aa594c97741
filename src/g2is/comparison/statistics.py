"""A paired bootstrap over test examples.

A *sample* is an array (1 + R,): a statistic of the test examples themselves, then of R resamples of them drawn with
replacement. Whatever is computed from samples of one target is computed resample by resample, so it is paired; samples
of different targets are drawn independently.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float64]

NUM_RESAMPLES = 10_000
INTERVAL_FRACTION = 0.95
BETTER, WORSE, UNCLEAR = "better", "worse", "unclear"

_CHUNK_BYTES = 48 * 2**20
_BYTES_A_DRAW = 24  # its place, its count, and the count as float64
_ROUNDING = 1e-9  # nats: equal cells may differ by the order in which a BLAS adds, and that is no difference


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % percentile interval; what there is not is NaN."""

    value: float
    low: float
    high: float

    def shifted(self, by: float) -> "Estimate":
        """The estimate of this statistic plus a constant."""
        return Estimate(self.value + by, self.low + by, self.high + by)


NOTHING = Estimate(np.nan, np.nan, np.nan)


def resampled_ratios(
    numerators: np.ndarray,
    denominators: np.ndarray,
    seed: int,
    name: str,
    num_resamples: int = NUM_RESAMPLES,
    chunk_bytes: int = _CHUNK_BYTES,
) -> Sample:
    """Samples of Σ numerators / Σ denominators over T test examples, (1 + num_resamples, C).

    `numerators` and `denominators` (T, C) float64. The resamples depend on `seed`, `name` and T alone, so that every
    method of the target `name` meets the same ones; `chunk_bytes` bounds the memory and changes nothing else but float
    rounding. NaN where a denominator is 0, and in every resample of a single example, which says nothing of others.
    """
    if (denominators == denominators[:, :1]).all():
        denominators = denominators[:, :1]
    num_examples, num_columns = numerators.shape
    random = np.random.default_rng([seed, *name.encode()])
    out = np.empty((1 + num_resamples, num_columns))
    out[0] = _ratios(np.ones((1, num_examples)), numerators, denominators)
    if num_examples == 1:
        out[1:] = np.nan
        return out
    at_once = max(1, chunk_bytes // (_BYTES_A_DRAW * num_examples))
    for begin in range(0, num_resamples, at_once):
        size = min(at_once, num_resamples - begin)
        draws = random.integers(num_examples, size=(size, num_examples))
        draws += np.arange(size)[:, None] * num_examples
        counts = np.bincount(draws.ravel(), minlength=size * num_examples).reshape(size, num_examples)
        out[1 + begin : 1 + begin + size] = _ratios(counts.astype(np.float64), numerators, denominators)
    return out


def _ratios(counts: np.ndarray, numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (counts @ numerators) / (counts @ denominators)


def estimate(sample: Sample) -> Estimate:
    """The value of a sample and its 95 % percentile interval, if there is one; NOTHING if the value is not finite."""
    resamples = sample[1:][np.isfinite(sample[1:])]
    if not np.isfinite(sample[0]):
        return NOTHING
    if not len(resamples):
        return Estimate(float(sample[0]), np.nan, np.nan)
    tail = (1 - INTERVAL_FRACTION) / 2
    low, high = np.quantile(resamples, [tail, 1 - tail])
    return Estimate(float(sample[0]), float(low), float(high))


def verdict(difference: Estimate) -> str:
    """What an estimated difference of losses, method minus other, says of the method: is its interval clear of zero?"""
    if difference.high < -_ROUNDING:
        return BETTER
    return WORSE if difference.low > _ROUNDING else UNCLEAR


def mean_over_targets(samples: Sequence[Sample]) -> Sample:
    """The mean of samples that were drawn independently, one a target."""
    return np.mean(samples, axis=0)


def recovered_fraction(gains: Sequence[Sample], full_gains: Sequence[Sample]) -> Estimate | None:
    """R, the part of the full pool's gain over random that a method has too, on the mean over targets.

    A gain is random's loss minus the method's (minus that of `full`), divided by random's: so targets of different
    scale count alike, and for one target R = (random − method) / (random − full). None unless the full pool's gain is
    clear of zero.
    """
    full_gain = mean_over_targets(full_gains)
    if not estimate(full_gain).low > _ROUNDING:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return estimate(mean_over_targets(gains) / full_gain)
