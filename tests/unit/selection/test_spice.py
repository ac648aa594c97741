"""SPICE over target-weighted rows against its formula, with whole matrices and plain loops."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chosen_rows import K, chosen, cosines, drawn, units

from g2is.selection.limits import Limits, Quota
from g2is.selection.similarity import UnitRows


def weights(similarity: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Each row's agreement: the mean cosine with the nearest group's examples, over the pool's highest."""
    means = [[float(np.mean([row[example] for example in of])) for of in groups] for row in similarity]
    found = np.array([max(0.0, *of_row) if len(of_row) > 1 else max(0.0, of_row[0]) for of_row in means])
    return found / found.max()


def by_hand(
    pool: np.ndarray,
    target: np.ndarray,
    num_taken: int,
    alpha: float = 1.0,
    penalty: float = 0.1,
    closed: Sequence[int] = (),
    groups: Sequence[Sequence[int]] | None = None,
    web: np.ndarray | None = None,
) -> list[tuple[int, float]]:
    """The rows that the formula chooses, with their worth; at most two of the rows `web`."""
    similarity, directions = cosines(pool, target), units(pool)
    weight = weights(similarity, groups or [range(len(target))])
    fisher = np.zeros((K, K))
    taken: list[int] = []
    found = []
    while len(taken) < num_taken:
        before = np.linalg.slogdet(np.eye(K) + alpha * fisher)[1]
        mean = np.mean([weight[row] * directions[row] for row in taken], axis=0) if taken else np.zeros(K)
        worth: dict[int, float] = {}
        for row in range(len(pool)):
            full = web is not None and web[row] and web[taken].sum() == 2
            if row in taken or row in closed or full or (similarity[row] < 0).all():
                continue
            outer = weight[row] ** 2 * np.outer(directions[row], directions[row])
            information = np.linalg.slogdet(np.eye(K) + alpha * (fisher + outer))[1] - before
            length = float(np.linalg.norm(mean))
            conflict: float = max(0.0, -float(directions[row] @ mean) / length) if length > 1e-12 else 0.0
            worth[row] = float(information) - penalty * conflict
        best: float = max(worth.values())
        taken.append(min(row for row, value in worth.items() if value >= best - 1e-11))
        found.append((taken[-1], worth[taken[-1]]))
        fisher += weight[taken[-1]] ** 2 * np.outer(directions[taken[-1]], directions[taken[-1]])
    return found


@pytest.mark.parametrize("penalty", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("alpha", [0.5, 20.0])
@pytest.mark.parametrize("num_examples", [1, 4])
def test_it_takes_rows_as_the_formula_does(num_examples: int, alpha: float, penalty: float) -> None:
    pool, target = np.random.default_rng(num_examples).normal(size=(150, K)).astype(np.float16), drawn(5, num_examples)
    pool[3] = 0
    pool[20:22] = pool[10]
    found = chosen(pool, {"t": target}, 40, method="spice", fisher_scale=alpha, conflict_penalty=penalty).record
    expected = by_hand(pool, target, 40, alpha, penalty, [3])
    assert found.rows.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose([step.score for step in found.steps], [worth for _, worth in expected], atol=1e-10)


def test_conflict_costs_a_row_its_place() -> None:
    pool, target = np.zeros((3, K), np.float16), np.eye(3, K, dtype=np.float16)
    pool[:, :3] = [[0.9, 0.8, 0], [0.9, 0.9, 0], [-0.6, 0.2, 1.2]]  # the last is new to the others, and against them
    of: dict[str, Any] = {"method": "spice", "fisher_scale": 100}
    assert chosen(pool, {"t": target}, 2, **of, conflict_penalty=0).record.rows.tolist() == [1, 2]
    assert chosen(pool, {"t": target}, 2, **of, conflict_penalty=20).record.rows.tolist() == [1, 0]


def test_agreement_is_with_the_nearest_group() -> None:
    pool, target = drawn(1, 40), np.random.default_rng(2).normal(size=(5, K)).astype(np.float16)
    found = chosen(pool, {"t": target}, 12, groups=("a", "b", "a", None, "b"), method="spice").record
    assert found.rows.tolist() == [row for row, _ in by_hand(pool, target, 12, groups=[[0, 2], [1, 4], [3]])]


def test_rows_that_agree_with_no_group_add_nothing_and_come_last_by_their_conflict() -> None:
    target = np.zeros((2, K), np.float16)
    target[0, :2], target[1, :2] = (1, 1), (-1, 0.2)
    pool = np.zeros((6, K), np.float16)
    pool[:, 0], pool[:, 2] = (-1, 0.5, 0.5, 0, -0.2, 0), (0, 1, -1, 0, 1, 0)
    pool[3, 1] = 1
    found = chosen(pool, {"t": target}, 5, method="spice", conflict_penalty=0.1).record
    assert found.rows.tolist() == [row for row, _ in by_hand(pool, target, 5, closed=[5])]
    assert found.num_zero_rows == 1


def test_budgets_of_tokens_quotas_included_rows_and_several_targets_bind() -> None:
    pool, tokens = drawn(1, 40), np.random.default_rng(3).integers(5, 15, 40)
    by_tokens = chosen(pool, {"t": drawn(2, 4)}, 90, Limits(num_tokens=tokens), method="spice").record
    assert 90 - 15 < by_tokens.spent <= 90
    assert by_tokens.rows.tolist() == [row for row, _ in by_hand(pool, drawn(2, 4), len(by_tokens.steps))]
    web = (np.arange(40) % 3 > 0) & (np.arange(40) != 4)
    limits = Limits(included=(4,), quotas=[Quota("web", web, 2)])
    limited = chosen(pool, {"t": drawn(2, 4)}, 8, limits, method="spice").record
    assert limited.rows.tolist() == [4, *(row for row, _ in by_hand(pool, drawn(2, 4), 8, closed=[4], web=web))]
    targets = {"a": drawn(7, 3), "b": drawn(8, 3)}
    first = [row for row, _ in by_hand(pool, targets["a"], 6)]
    second = [row for row, _ in by_hand(pool, targets["b"], 6, closed=first)]
    assert chosen(pool, targets, 12, method="spice").record.rows.tolist() == first + second


def test_rows_in_a_file_beyond_memory_are_chosen_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "pool.npy", drawn(9, 300))
    expected = chosen(drawn(9, 300), {"t": drawn(10, 4)}, 100, method="spice").record.rows
    monkeypatch.setattr("g2is.selection.similarity.fits_in_memory", lambda _: False)
    mapped = UnitRows(np.load(tmp_path / "pool.npy", mmap_mode="r"), block_values=5 * K, coarse=False)
    assert chosen(mapped, {"t": drawn(10, 4)}, 100, method="spice").record.rows.tolist() == expected.tolist()
