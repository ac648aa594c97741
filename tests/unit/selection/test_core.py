"""Core knowledge: which directions, how many, their sign and their variance."""

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.selection.core import core_knowledge


def settings(**changes: Any) -> SelectionConfig:
    plain = {"selector": "walk", "core": "svd", "orient": False, "normalize_targets": False}
    return SelectionConfig(**{**plain, **changes})


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(12, 20)) * np.linspace(3, 0.2, 20) + 0.5


def test_pca_is_scikit_learns_signs_included(rows: np.ndarray) -> None:
    core = core_knowledge(rows, settings(core="pca", core_fraction=0.6))
    pca = PCA(n_components=0.6, svd_solver="full").fit(rows)
    np.testing.assert_allclose(core.components, pca.components_, atol=1e-12)
    np.testing.assert_allclose(core.variance, pca.explained_variance_ratio_, atol=1e-12)


def test_svd_keeps_the_mean_direction_that_pca_subtracts() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 10)) + 10 * np.eye(10)[0]
    svd = core_knowledge(rows, settings(core="svd"))
    pca = core_knowledge(rows, settings(core="pca"))
    assert abs(svd.mean_alignment[0]) > 0.99
    assert len(svd.components) == 1
    assert abs(pca.mean_alignment[0]) < 0.2


def test_svd_components_reproduce_the_rows_length_by_length(rows: np.ndarray) -> None:
    core = core_knowledge(rows, settings(core_fraction=1.0))
    assert core.variance.sum() == pytest.approx(1)
    np.testing.assert_allclose(
        ((rows @ core.components.T) ** 2).sum(axis=0) / (rows**2).sum(), core.variance, atol=1e-12
    )


def test_mean_is_the_mean_row_as_a_unit_vector(rows: np.ndarray) -> None:
    core = core_knowledge(rows, settings(core="mean"))
    mean = rows.mean(axis=0)
    np.testing.assert_allclose(core.components, mean[None] / np.linalg.norm(mean), atol=1e-14)
    assert core.variance.tolist() == [1.0]
    assert core.mean_alignment == pytest.approx([1.0])


@pytest.mark.parametrize("kind", ["pca", "svd", "mean"])
def test_components_are_float64_unit_rows(rows: np.ndarray, kind: str) -> None:
    core = core_knowledge(rows.astype(np.float32), settings(core=kind))
    assert core.components.dtype == core.variance.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(core.components, axis=1), 1, atol=1e-14)


def test_variance_mode_keeps_the_fewest_components_that_exceed_the_fraction(rows: np.ndarray) -> None:
    every = core_knowledge(rows, settings(core_fraction=1.0)).variance
    for fraction in (0.1, 0.5, 0.9):
        kept = len(core_knowledge(rows, settings(core_fraction=fraction)).variance)
        assert every[:kept].sum() > fraction >= every[: kept - 1].sum()


def test_count_ratio_keeps_that_share_of_k_but_at_least_one(rows: np.ndarray) -> None:
    counts = {0.01: 1, 0.15: 3, 0.35: 7}
    for fraction, count in counts.items():
        core = core_knowledge(rows, settings(core_mode="count_ratio", core_fraction=fraction))
        assert len(core.components) == count


def test_count_ratio_is_not_lost_to_float_noise() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 100))
    core = core_knowledge(rows, settings(core_mode="count_ratio", core_fraction=0.29))  # int(100 * 0.29) is 28
    assert len(core.components) == 29


@pytest.mark.parametrize("kind", ["pca", "svd"])
def test_count_ratio_beyond_the_target_rows_is_refused_with_both_numbers(rows: np.ndarray, kind: str) -> None:
    with pytest.raises(
        SelectionError, match=r"at most 12 components.*found 0\.7 of k = 20, which is 14;.*core_mode variance"
    ):
        core_knowledge(rows, settings(core=kind, core_mode="count_ratio", core_fraction=0.7))


def test_a_component_without_variance_is_dropped(rows: np.ndarray) -> None:
    """12 centred rows span 11 dimensions; the twelfth direction would be rounding noise."""
    core = core_knowledge(rows, settings(core="pca", core_mode="count_ratio", core_fraction=0.6))
    assert len(core.components) == 11


@pytest.mark.parametrize("kind", ["pca", "svd"])
def test_oriented_components_agree_with_the_mean_target_gradient(rows: np.ndarray, kind: str) -> None:
    rows = -rows
    plain = core_knowledge(rows, settings(core=kind, core_fraction=0.95))
    oriented = core_knowledge(rows, settings(core=kind, core_fraction=0.95, orient=True))
    assert (plain.mean_alignment < 0).any(), "the case must need turning"
    assert (oriented.mean_alignment >= 0).all()
    assert (oriented.components @ rows.mean(axis=0) >= -1e-12).all()
    np.testing.assert_allclose(np.abs(oriented.components), np.abs(plain.components))
    np.testing.assert_allclose(oriented.variance, plain.variance)


def test_normalised_targets_count_alike_whatever_their_length(rows: np.ndarray) -> None:
    lengths = 10.0 ** np.arange(-6, 6)[:, None]
    one = core_knowledge(rows, settings(normalize_targets=True))
    other = core_knowledge(rows * lengths, settings(normalize_targets=True))
    np.testing.assert_allclose(one.components, other.components, atol=1e-9)
    assert abs(core_knowledge(rows * lengths, settings()).components[0] @ rows[-1]) > 0.999 * np.linalg.norm(rows[-1])


def test_zero_target_rows_are_set_aside_and_counted_where_rows_are_normalised(rows: np.ndarray) -> None:
    with_zeros = np.insert(rows, [2, 7], 0.0, axis=0)
    core = core_knowledge(with_zeros, settings(normalize_targets=True))
    assert (core.num_target_rows, core.num_zero_rows) == (12, 2)
    np.testing.assert_allclose(core.components, core_knowledge(rows, settings(normalize_targets=True)).components)


def test_zero_target_rows_take_part_where_rows_are_not_normalised(rows: np.ndarray) -> None:
    with_zeros = np.insert(rows, [2, 7], 0.0, axis=0)
    core = core_knowledge(with_zeros, settings(core="pca"))
    pca = PCA(n_components=0.5, svd_solver="full").fit(with_zeros)
    assert (core.num_target_rows, core.num_zero_rows) == (14, 0)
    np.testing.assert_allclose(core.components, pca.components_, atol=1e-12)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_target_row_that_is_not_finite_is_named(rows: np.ndarray, broken: float) -> None:
    rows[[4, 9], 3] = broken
    with pytest.raises(SelectionError, match=r"NaN or Inf in 2 of 12 rows, first in row\(s\) \[4, 9\]"):
        core_knowledge(rows, settings())


def test_target_rows_that_are_all_zero_are_refused() -> None:
    with pytest.raises(SelectionError, match=r"found 3 zero row\(s\)"):
        core_knowledge(np.zeros((3, 4)), settings(normalize_targets=True))


@pytest.mark.parametrize("shape", [(0, 4), (4,), (3, 0)])
def test_anything_but_a_matrix_with_rows_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SelectionError, match=r"\(M, k\) matrix with at least one row, found shape"):
        core_knowledge(np.zeros(shape), settings())


def test_one_target_row_works_but_for_pca_which_says_so() -> None:
    row = np.array([[3.0, 0.0, -4.0]])
    for kind in ("svd", "mean"):
        core = core_knowledge(row, settings(core=kind, orient=True))
        np.testing.assert_allclose(core.components, [[0.6, 0, -0.8]], atol=1e-15)
    with pytest.raises(SelectionError, match=r"at least 2 target rows .* found 1; use core svd or mean"):
        core_knowledge(row, settings(core="pca"))


def test_equal_target_rows_work_but_for_pca_which_says_so() -> None:
    rows = np.outer([1.0, 2.0, 5.0], [3.0, 0.0, -4.0])
    core = core_knowledge(rows, settings(core="svd", normalize_targets=True, orient=True))
    np.testing.assert_allclose(core.components, [[0.6, 0, -0.8]], atol=1e-15)
    with pytest.raises(SelectionError, match="found 3 equal rows"):
        core_knowledge(rows, settings(core="pca", normalize_targets=True))


def test_rows_that_cancel_have_no_mean_direction_and_align_with_nothing() -> None:
    rows = np.array([[1.0, 2.0], [-1.0, -2.0]])
    with pytest.raises(SelectionError, match="2 target rows cancel"):
        core_knowledge(rows, settings(core="mean"))
    assert core_knowledge(rows, settings(core="svd", orient=True)).mean_alignment.tolist() == [0.0]
