"""Interaction-aware influence against its formula, as plain loops."""

from pathlib import Path

import numpy as np
import pytest
from chosen_rows import K, chosen, cosines, drawn

from g2is.selection.limits import Limits, Quota
from g2is.selection.similarity import UnitRows


def fall(rows: list[int], similarity: np.ndarray, weight: float) -> float:
    """What the rows together do for the target: first order, less half of every pair's interaction."""
    num = similarity.shape[1]
    first = sum(similarity[row, example] for row in rows for example in range(num)) / num
    pairs = 0.0
    for one in rows:
        for other in rows:
            pairs += sum(similarity[one, example] * similarity[other, example] for example in range(num)) / num
    return float(first - weight / 2 * pairs)


def by_hand(
    similarity: np.ndarray, num_taken: int, weight: float, closed: set[int], web: np.ndarray | None = None
) -> list[tuple[int, float]]:
    """The rows that the formula chooses and what each raises it by; at most two of the rows `web`."""
    taken: list[int] = []
    gains: list[float] = []
    for _ in range(num_taken):
        if web is not None and web[taken].sum() == 2:
            closed = closed | set(np.flatnonzero(web).tolist())
        so_far = fall(taken, similarity, weight)
        worth = {
            row: fall([*taken, row], similarity, weight) - so_far
            for row in range(len(similarity))
            if row not in taken and row not in closed and (similarity[row] >= 0).any()
        }
        best = max(worth.values())
        taken.append(min(row for row, gain in worth.items() if gain >= best - 1e-12))
        gains.append(worth[taken[-1]])
    return list(zip(taken, gains, strict=True))


@pytest.mark.parametrize("curvature", [0.0, 1.0, 8.0])
@pytest.mark.parametrize("num_examples", [1, 5])
def test_it_takes_rows_as_a_plain_loop_does(num_examples: int, curvature: float) -> None:
    pool, target = drawn(num_examples, 30), drawn(50, num_examples)
    pool[3] = 0
    pool[7] = -pool[7]  # opposes them all
    pool[20:22] = pool[10]
    found = chosen(pool, {"t": target}, 9, method="interaction", curvature=curvature).record
    similarity = cosines(pool, target)
    expected = by_hand(similarity, 9, curvature / 9, {3} | set(np.flatnonzero((similarity < 0).all(axis=1)).tolist()))
    assert found.rows.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose([step.score for step in found.steps], [gain for _, gain in expected], atol=1e-11)


def test_without_curvature_it_ranks_by_the_mean_cosine_and_with_it_serves_more_examples() -> None:
    target = np.eye(2, K, dtype=np.float16)
    pool = np.zeros((12, K), np.float16)
    pool[:8, 0] = pool[8:, 1] = 1
    pool[:, 2] = np.where(np.arange(12) < 8, 0.1, 0.5)
    straight = chosen(pool, {"t": target}, 6, method="interaction", curvature=0).record
    assert straight.rows.tolist() == chosen(pool, {"t": target}, 6, method="less").record.rows.tolist()
    assert set(straight.rows.tolist()) == set(range(6))
    assert (chosen(pool, {"t": target}, 6, method="interaction", curvature=6).record.rows >= 8).sum() == 3


def test_of_a_budget_of_tokens_the_rows_are_as_many_as_their_mean_length_allows() -> None:
    pool, target, tokens = drawn(1, 30), drawn(2, 4), np.random.default_rng(3).integers(5, 15, 30)
    found = chosen(pool, {"t": target}, 70, Limits(num_tokens=tokens), method="interaction", curvature=4).record
    weight = 4 / (70 / tokens.mean())
    assert found.rows.tolist() == [row for row, _ in by_hand(cosines(pool, target), len(found.steps), weight, set())]
    assert 70 - 15 < found.spent <= 70


def test_included_rows_and_those_of_a_full_quota_are_not_in_the_formula() -> None:
    pool, target, web = drawn(4, 30), drawn(5, 4), (np.arange(30) % 3 > 0) & (np.arange(30) != 3)
    limits = Limits(included=(3,), quotas=[Quota("web", web, 2)])
    found = chosen(pool, {"t": target}, 8, limits, method="interaction", curvature=8).record
    expected = by_hand(cosines(pool, target), 8, 1.0, {3}, web)
    assert found.rows.tolist() == [3, *(row for row, _ in expected)]
    assert found.full_quotas == ("web",)


def test_each_target_begins_anew_with_the_rows_that_are_left() -> None:
    pool, targets = drawn(6, 30), {"a": drawn(7, 3), "b": drawn(8, 3)}
    found = chosen(pool, targets, 10, method="interaction").record
    first = by_hand(cosines(pool, targets["a"]), 5, 1 / 5, set())
    taken = {row for row, _ in first}
    second = by_hand(cosines(pool, targets["b"]), 5, 1 / 5, taken)
    assert found.rows.tolist() == [row for row, _ in first + second]


def test_rows_in_a_file_beyond_memory_are_chosen_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "pool.npy", drawn(9, 300))
    expected = chosen(drawn(9, 300), {"t": drawn(10, 4)}, 40, method="interaction").record.rows
    monkeypatch.setattr("g2is.selection.similarity.fits_in_memory", lambda _: False)
    mapped = UnitRows(np.load(tmp_path / "pool.npy", mmap_mode="r"), block_values=5 * K, coarse=False)
    assert chosen(mapped, {"t": drawn(10, 4)}, 40, method="interaction").record.rows.tolist() == expected.tolist()
