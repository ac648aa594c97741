import numpy as np
import pytest

from g2is.store.draw import random_order


def make_keys(num_rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_rows, 16), dtype=np.uint8)


def drawn(keys: np.ndarray, num: int, seed: int = 0, purpose: str = "warm-up") -> list[bytes]:
    return [keys[row].tobytes() for row in random_order(keys, seed, purpose)[:num]]


def test_every_row_comes_once_those_of_one_content_too() -> None:
    keys = np.repeat(make_keys(100), 3, axis=0)
    assert sorted(random_order(keys, 0, "warm-up").tolist()) == list(range(300))
    assert random_order(keys[:1], 0, "warm-up").tolist() == [0]
    assert random_order(keys[:0], 0, "warm-up").tolist() == []


def test_rows_of_one_content_are_drawn_apart_from_each_other() -> None:
    keys = np.repeat(make_keys(2000), 2, axis=0)
    num_pairs = 1000 - len(set(drawn(keys, 1000)))
    assert num_pairs == pytest.approx(1000 * 1000 / 4000 / 2, abs=40)  # as rows of different content would be


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_pool_changes_nothing(seed: int) -> None:
    keys = make_keys(5000)
    keys[4000:] = keys[:1000]
    keys[4990:] = keys[0]
    order = np.random.default_rng(seed).permutation(len(keys))
    assert drawn(keys, 5000, seed) == drawn(keys[order], 5000, seed)


@pytest.mark.parametrize("duplicates", [0, 500])
def test_a_pool_that_grows_by_a_tenth_keeps_what_was_drawn(duplicates: int) -> None:
    keys = make_keys(30_000)
    more = np.concatenate([make_keys(3000 - duplicates, seed=9), keys[:duplicates]])
    before, after = set(drawn(keys, 1500)), set(drawn(np.concatenate([more, keys]), 1650))
    # of 1,650 rows a tenth of 1,500, 150, are expected to be new ones, give or take chance (σ 12)
    assert len(after - before) == pytest.approx(150, abs=50)
    assert len(before - after) <= 50  # seen: 0 to 20
    # the same number out of the larger pool: an eleventh gives way
    assert len(before - set(drawn(np.concatenate([more, keys]), 1500))) == pytest.approx(136, abs=50)


def test_two_seeds_and_two_purposes_share_what_chance_gives() -> None:
    keys = make_keys(20_000)
    first = set(drawn(keys, 2000))
    for other in (drawn(keys, 2000, seed=1), drawn(keys, 2000, purpose="selection"), drawn(keys, 2000, seed=2**32 - 1)):
        assert len(first & set(other)) == pytest.approx(200, abs=60)  # σ 13


def test_every_row_is_as_likely_as_another_and_at_every_place() -> None:
    keys = make_keys(200)
    keys[:, 8:] = 0  # contents that have little to tell them apart do not matter
    keys[:, 1:8] = 0
    keys[:, 0] = np.arange(200)
    num_seeds = 2000
    orders = np.stack([random_order(keys, seed, "warm-up") for seed in range(num_seeds)])
    counts = np.bincount(orders[:, :20].ravel(), minlength=200)
    expected = num_seeds * 20 / 200
    chi2 = float(((counts - expected) ** 2 / (expected * 0.9)).sum())  # 199 degrees of freedom: σ 20
    assert 120 < chi2 < 290
    by_place = np.histogram2d(np.repeat(np.arange(200), num_seeds), np.argsort(orders, axis=1).T.ravel(), bins=10)[0]
    assert abs(by_place / (num_seeds * 200 / 100) - 1).max() < 0.06  # σ 0.016


def test_the_order_is_the_same_on_every_machine() -> None:
    keys = np.arange(160, dtype=np.uint8).reshape(10, 16)
    assert random_order(keys, 0, "warm-up").tolist() == [1, 0, 5, 6, 4, 3, 7, 2, 9, 8]
    assert random_order(keys[[0, 0, 1, 1]], 7, "selection").tolist() == [0, 3, 2, 1]
