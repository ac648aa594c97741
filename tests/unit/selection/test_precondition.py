"""The inverse root of a mixed second moment against full matrices in float64 (scipy), and what must not change it."""

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.linalg

from g2is.errors import SelectionError
from g2is.machine import memory
from g2is.selection.precondition import Preconditioner, SecondMoment
from g2is.store.second_moments import Decomposition

K = 24


def rows_of(seed: int, num_rows: int, spread: float = 2.0) -> np.ndarray:
    """Rows with directions in common, and lengths that differ."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num_rows, K)) + 3 * rng.normal(size=(num_rows, 2)) @ rng.normal(size=(2, K))
    return rows * np.exp(spread * rng.normal(size=(num_rows, 1)))


def decomposed(pool: np.ndarray, at_once: int = 1000, scale: float = 1.0) -> Decomposition:
    moment, lengths = SecondMoment(K), np.linalg.norm(pool, axis=1)
    units = np.divide(pool, lengths[:, None], out=np.zeros_like(pool), where=lengths[:, None] > 0)
    for low in range(0, len(pool), at_once):
        moment.add(units[low : low + at_once], scale * lengths[low : low + at_once])
    return moment.decomposed()


def by_full_matrices(pool: np.ndarray, targets: Sequence[np.ndarray], damping: float, mix: float) -> np.ndarray:
    """(M + damping/k I)^(-1/2), as it is written down."""
    of_pool = np.zeros((K, K))
    for x in pool:
        of_pool += np.outer(x, x)
    of_targets = np.zeros((K, K))
    for target in targets:
        of_one = np.zeros((K, K))
        for x in target:
            of_one += np.outer(x, x)
        of_targets += of_one / np.trace(of_one) / len(targets)
    mixed = (1 - mix) * of_pool / np.trace(of_pool) + mix * of_targets
    root = scipy.linalg.sqrtm(mixed + damping * np.trace(mixed) / K * np.eye(K))
    return np.asarray(scipy.linalg.inv(np.real(root)))


@pytest.mark.parametrize("num_rows", [1, 7, 200])  # fewer rows than coordinates, and more
@pytest.mark.parametrize("mix", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("damping", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("sizes", [(1,), (5,), (40,), (3, 30)])
def test_products_are_those_of_full_matrices(num_rows: int, mix: float, damping: float, sizes: tuple[int, ...]) -> None:
    pool, targets = rows_of(1, num_rows), [rows_of(seed, size) for seed, size in enumerate(sizes, start=2)]
    by = Preconditioner.of(decomposed(pool), targets, damping, mix)
    root = by_full_matrices(pool, targets, damping, mix)
    rows = np.concatenate([pool[:20], *targets])
    found, expected = by(rows), rows @ root.T
    scale = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), scale, rtol=1e-8)
    products = (found @ found.T) / np.outer(scale, scale)
    np.testing.assert_allclose(products, expected @ expected.T / np.outer(scale, scale), atol=1e-8)


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_it_is_the_same_however_many_rows_are_counted_at_a_time_and_in_whatever_order(at_once: int) -> None:
    pool, target = rows_of(3, 130), rows_of(4, 6)
    rows = np.concatenate([pool, target])
    whole = Preconditioner.of(decomposed(pool), [target], 0.1, 0.5)(rows)
    for order in (pool, pool[np.argsort(np.linalg.norm(pool, axis=1))]):
        found = Preconditioner.of(decomposed(order, at_once), [target], 0.1, 0.5)(rows)
        np.testing.assert_allclose(found @ found.T, whole @ whole.T, rtol=1e-9, atol=1e-9 * np.abs(whole).max() ** 2)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_lengths_of_any_size_say_the_same(scale: float) -> None:
    pool, target = rows_of(5, 60, spread=0.5), rows_of(6, 5, spread=0.5)
    usual = Preconditioner.of(decomposed(pool), [target], 0.1, 0.5)(pool)
    found = Preconditioner.of(decomposed(pool, 9, scale), [target * scale], 0.1, 0.5)(pool)
    np.testing.assert_allclose(np.abs(found @ found.T), np.abs(usual @ usual.T), rtol=1e-8, atol=1e-8)


def test_what_all_rows_share_counts_less_and_what_none_has_most() -> None:
    pool = np.random.default_rng(7).normal(size=(4000, K)) @ np.diag(np.linspace(3, 1, K))
    by = Preconditioner.of(decomposed(pool), [], 1e-6, 0.0)
    whitened = by(pool)
    np.testing.assert_allclose(whitened.T @ whitened / np.sum(pool**2), np.eye(K), atol=1e-4)


def test_rows_of_zeros_stay_zeros_and_a_target_of_zeros_says_nothing() -> None:
    pool = rows_of(8, 30)
    pool[3] = 0
    zeros = np.zeros((2, K))
    by = Preconditioner.of(decomposed(pool), [zeros], 0.1, 0.5)
    assert not by(pool)[3].any()
    half = Preconditioner.of(decomposed(pool), [], 0.2, 0.0)(pool)  # of half the pool's, so twice the damping
    np.testing.assert_allclose(by(pool), half * np.sqrt(2), rtol=1e-9)
    nothing = decomposed(np.zeros((2, K)))
    assert not nothing.values.any()
    np.testing.assert_allclose(np.linalg.norm(Preconditioner.of(nothing, [], 0.1, 0.0)(pool), axis=1),
                               np.linalg.norm(pool, axis=1) * np.sqrt(K / 0.1))  # fmt: skip


def test_too_little_memory_is_said_before_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    with pytest.raises(SelectionError, match=r"selection.precondition: expected 2\.5 GiB of memory to decompose"):
        SecondMoment(8192)
