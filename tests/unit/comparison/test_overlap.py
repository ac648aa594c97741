"""How alike selections are, counted by hand."""

import numpy as np
import pytest

from g2is.comparison.overlap import jaccard, mean_overlap, mean_stability, overlap, shared_fraction, stability

A, B, C = np.array([1, 2, 3, 4]), np.array([4, 3, 9, 8, 7]), np.array([20])


def test_two_of_seven_rows_are_shared() -> None:
    assert jaccard(A, B) == pytest.approx(2 / 7)
    assert (shared_fraction(A, B), shared_fraction(B, A)) == (2 / 4, 2 / 5)
    assert (jaccard(A, A), jaccard(A, C)) == (1, 0)


def test_methods_are_compared_on_the_seeds_that_both_have() -> None:
    found = overlap({"g2is": {0: A, 1: A, 2: C}, "less": {0: B, 2: C}, "rds+": {7: A}})
    assert found.jaccard[0, 1] == found.jaccard[1, 0] == pytest.approx((2 / 7 + 1) / 2)
    assert found.shared_fraction[0, 1] == pytest.approx((2 / 4 + 1) / 2)
    assert found.shared_fraction[1, 0] == pytest.approx((2 / 5 + 1) / 2)
    assert np.isnan(found.jaccard[:2, 2]).all()
    np.testing.assert_array_equal(np.diag(found.jaccard), 1)


def test_a_mean_over_targets_takes_a_pair_where_it_was_compared() -> None:
    found = mean_overlap([overlap({"g2is": {0: A}, "less": {0: B}}), overlap({"g2is": {0: A}, "less": {}})])
    assert found.jaccard[0, 1] == pytest.approx(2 / 7)
    assert np.isnan(mean_overlap([overlap({"g2is": {}, "less": {}})]).jaccard).all()


def test_stability_is_the_mean_over_pairs_of_seeds() -> None:
    found = stability([A, B, C], 1_000)
    assert found is not None
    assert found.num_pairs == 3
    assert found.jaccard == pytest.approx((2 / 7 + 0 + 0) / 3)
    assert found.shared_fraction == pytest.approx((2 / 4 + 0 + 0) / 3)
    assert stability([A], 1_000) is None


def test_what_chance_would_give_is_what_random_draws_give() -> None:
    numbers = np.random.default_rng(0)
    draws = [numbers.choice(500, 100, replace=False) for _ in range(40)]
    found = stability(draws, 500)
    assert found is not None
    assert found.chance_shared_fraction == 100 / 500
    assert found.shared_fraction == pytest.approx(found.chance_shared_fraction, rel=0.03)
    assert found.jaccard == pytest.approx(found.chance_jaccard, rel=0.03)


def test_the_mean_stability_is_over_the_targets_that_have_one() -> None:
    one, other = stability([A, A], 100), stability([A, B], 100)
    assert one is not None
    assert other is not None
    mean = mean_stability([one, other])
    assert mean is not None
    assert mean.jaccard == pytest.approx((1 + 2 / 7) / 2)
    assert mean_stability([]) is None
