"""The bootstrap against closed forms, brute force and SciPy."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from g2is.comparison.statistics import (
    BETTER,
    UNCLEAR,
    WORSE,
    Estimate,
    estimate,
    mean_over_targets,
    recovered_fraction,
    resampled_ratios,
    verdict,
)


def resample(
    numerators: Sequence[float] | np.ndarray,
    denominators: np.ndarray | None = None,
    seed: int = 0,
    name: str = "gsm8k",
    **options: int,
) -> np.ndarray:
    columns = np.asarray(numerators, float).reshape(len(numerators), -1)
    return resampled_ratios(
        columns, np.ones_like(columns) if denominators is None else denominators, seed, name, **options
    )


def test_the_first_of_a_sample_is_the_statistic_of_the_data_themselves() -> None:
    numbers = np.random.default_rng(0)
    losses, num_learned = numbers.random((30, 2)), numbers.integers(1, 9, (30, 1)).astype(float)
    found = resample(losses * num_learned, np.repeat(num_learned, 2, axis=1), num_resamples=5)
    assert found.shape == (6, 2)
    np.testing.assert_allclose(found[0], (losses * num_learned).sum(0) / num_learned.sum())


def test_a_sample_is_what_drawing_examples_one_by_one_gives() -> None:
    numbers = np.random.default_rng(1)
    numerators, denominators = numbers.random((40, 3)), numbers.integers(1, 9, (40, 3)).astype(float)
    found = resample(numerators, denominators, seed=5, name="é", num_resamples=50)
    draws = np.random.default_rng([5, *"é".encode()]).integers(40, size=(50, 40))
    for row, drawn in zip(found[1:], draws, strict=True):
        np.testing.assert_allclose(row, numerators[drawn].sum(0) / denominators[drawn].sum(0))


def test_the_interval_of_a_mean_is_scipy_s() -> None:
    values = np.random.default_rng(2).exponential(size=300)
    ours = estimate(resample(values)[:, 0])
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(9), batch=500
    ).confidence_interval
    spread = values.std() / np.sqrt(300)
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.08 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.08 * spread)


def test_the_interval_of_a_mean_is_the_normal_one_where_examples_are_many() -> None:
    values = np.random.default_rng(3).normal(2.0, 0.5, 2_000)
    found = estimate(resample(values)[:, 0])
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_the_interval_of_a_difference_covers_the_truth_in_about_95_of_100_data_sets() -> None:
    numbers, num_covered = np.random.default_rng(4), 0
    for number in range(200):
        difficulty, num_learned = numbers.exponential(2.0, 150), numbers.integers(1, 60, 150).astype(float)
        one = difficulty + numbers.normal(0.0, 0.3, 150)
        other = difficulty + numbers.normal(0.1, 0.3, 150)  # the truth: 0.1 nats more
        summed = np.stack([one, other], axis=1) * num_learned[:, None]
        sample = resample(summed, np.repeat(num_learned[:, None], 2, axis=1), name=str(number), num_resamples=1_000)
        found = estimate(sample[:, 1] - sample[:, 0])
        num_covered += found.low <= 0.1 <= found.high
    assert 180 <= num_covered <= 198  # 190 ± 3.1; a percentile interval of 150 examples is a little short


def test_a_constant_shift_has_a_difference_of_no_width_however_much_examples_differ() -> None:
    numbers = np.random.default_rng(5)
    losses, num_learned = numbers.exponential(3.0, 100), numbers.integers(1, 99, (100, 1)).astype(float)
    summed = np.stack([losses, losses - 0.25], axis=1) * num_learned
    sample = resample(summed, np.repeat(num_learned, 2, axis=1))
    found = estimate(sample[:, 1] - sample[:, 0])
    assert found.value == pytest.approx(-0.25)
    assert found.high - found.low < 1e-12
    assert estimate(sample[:, 0]).high - estimate(sample[:, 0]).low > 0.1
    assert verdict(found) == BETTER


def test_the_same_seed_gives_the_same_bytes_and_another_seed_or_target_other_resamples() -> None:
    values = np.random.default_rng(6).random(50)
    first = resample(values, seed=3, name="a", num_resamples=100)
    np.testing.assert_array_equal(first, resample(values, seed=3, name="a", num_resamples=100))
    assert not np.allclose(first[1:], resample(values, seed=4, name="a", num_resamples=100)[1:])
    assert not np.allclose(first[1:], resample(values, seed=3, name="b", num_resamples=100)[1:])


@pytest.mark.parametrize("chunk_bytes", [1, 5_000, 60_001, 10**9])
def test_the_size_of_a_chunk_changes_nothing_but_rounding(chunk_bytes: int) -> None:
    values = np.random.default_rng(7).random((37, 4))
    expected = resample(values, num_resamples=333)
    np.testing.assert_allclose(resample(values, num_resamples=333, chunk_bytes=chunk_bytes), expected, rtol=1e-12)


def test_the_order_of_the_methods_changes_nothing_but_rounding() -> None:
    values, order = np.random.default_rng(8).random((60, 7)), [3, 0, 6, 5, 1, 4, 2]
    found = resample(values, num_resamples=200)
    np.testing.assert_allclose(resample(values[:, order], num_resamples=200), found[:, order], rtol=1e-12)


@pytest.mark.slow
def test_ten_thousand_resamples_of_5000_examples_stay_below_200_megabytes() -> None:
    values, weights = np.random.default_rng(9).random((2, 5_000, 20))
    tracemalloc.start()
    resampled_ratios(values, weights, 0, "gsm8k")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6


def test_resamples_without_an_example_that_counts_are_left_out_of_an_interval() -> None:
    applies = np.array([[1.0], [0.0], [0.0]])
    found = resample(applies, applies)
    assert np.isnan(found).any()
    assert estimate(found[:, 0]) == Estimate(1.0, 1.0, 1.0)


def test_what_is_not_finite_has_no_interval() -> None:
    assert np.isnan(estimate(resample([1.0, np.nan], num_resamples=9)[:, 0]).low)
    assert np.isnan(estimate(resample([1.0, np.inf], num_resamples=9)[:, 0]).value)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.2, -0.1, BETTER), (0.1, 0.2, WORSE), (-0.1, 0.1, UNCLEAR), (0.0, 0.2, UNCLEAR), (1e-15, 1e-15, UNCLEAR)],
)
def test_a_verdict_needs_an_interval_clear_of_zero_by_more_than_rounding(
    low: float, high: float, expected: str
) -> None:
    assert verdict(Estimate((low + high) / 2, low, high)) == expected


def test_a_verdict_on_nothing_is_unclear() -> None:
    assert verdict(Estimate(np.nan, np.nan, np.nan)) == UNCLEAR


def test_the_mean_over_targets_that_were_drawn_apart_is_as_uncertain_as_independent_means_are() -> None:
    one, other = np.random.default_rng(10).normal(0, [[1.0], [3.0]], (2, 400))
    found = estimate(mean_over_targets([resample(one, name="a")[:, 0], resample(other, name="b")[:, 0]]))
    half = 1.96 * np.sqrt(one.var() / 400 + other.var() / 400) / 2
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)


def test_the_recovered_fraction_is_its_formula_resample_by_resample() -> None:
    random, method, full = resample(np.random.default_rng(11).normal([[3.0, 2.6, 2.0]], 0.2, (200, 3))).T
    found = recovered_fraction([(random - method) / random], [(random - full) / random])
    expected = (random - method) / (random - full)
    assert found is not None
    assert found.value == pytest.approx(expected[0])
    np.testing.assert_allclose([found.low, found.high], np.quantile(expected[1:], [0.025, 0.975]))


def test_there_is_no_recovered_fraction_where_the_full_pool_gains_nothing_clear() -> None:
    random, method, full = resample(np.random.default_rng(12).normal([[3.0, 2.6, 2.99]], 0.5, (50, 3))).T
    assert recovered_fraction([(random - method) / random], [(random - full) / random]) is None
