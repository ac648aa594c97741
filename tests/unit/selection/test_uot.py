"""Unbalanced optimal transport against its published steps, as plain loops, and against what it minimises."""

from pathlib import Path

import numpy as np
import pytest
from chosen_rows import K, chosen, cosines, drawn

from g2is.selection.limits import Limits, Quota
from g2is.selection.similarity import UnitRows


def plan(similarity: np.ndarray, entropy: float = 0.01, balance: float = 1e-4, num_steps: int = 3000) -> np.ndarray:
    """The plan (M, N) after steps of Sinkhorn on the scalings themselves."""
    num_rows, num_examples = similarity.shape
    kernel = np.exp((similarity.T - 1) / 2 / entropy) / num_rows / num_examples
    of_examples, of_rows = np.ones(num_examples), np.ones(num_rows)
    for _ in range(num_steps):
        for at in range(num_examples):
            of_examples[at] = (1 / num_examples) / sum(kernel[at] * of_rows)
        of_rows = (1 / num_rows / (kernel.T @ of_examples)) ** (balance / (balance + entropy))
    return of_examples[:, None] * kernel * of_rows


def in_order(mass: np.ndarray, closed: set[int], num_rows: int) -> list[int]:
    """The open rows of largest mass, the lowest first of equal ones."""
    open_rows = [row for row in range(num_rows) if row not in closed]
    logs = dict(zip(open_rows, np.log(mass).round(9).tolist(), strict=True))
    return sorted(open_rows, key=lambda row: (-logs[row], row))


def by_hand(
    pool: np.ndarray, target: np.ndarray, closed: set[int] | None = None, num_steps: int = 60
) -> tuple[list[int], dict[int, float]]:
    """The rows in the order of the published scores, and these."""
    similarity = cosines(pool, target).round(12)
    shut = (closed or set()) | set(np.flatnonzero((similarity < 0).all(axis=1)).tolist())
    kept = [row for row in range(len(pool)) if row not in shut]
    mass = plan(similarity[kept], num_steps=num_steps).sum(axis=0)
    return in_order(mass, shut, len(pool)), dict(zip(kept, mass.tolist(), strict=True))


@pytest.mark.parametrize("num_examples", [1, 5])
def test_it_takes_rows_as_the_published_steps_do(num_examples: int) -> None:
    pool, target = drawn(num_examples, 60), drawn(50, num_examples)
    pool[3] = 0
    pool[7] = -5 * np.eye(1, K)[0]  # opposes them all
    pool[20:24] = pool[10]
    found = chosen(pool, {"t": target}, 58, method="uot").record
    expected, mass = by_hand(pool, target, {3})
    assert found.rows.tolist() == expected
    assert [step.score for step in found.steps] == pytest.approx([mass[row] for row in expected], rel=1e-7)
    assert sum(step.score for step in found.steps) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("entropy", "balance"), [(0.005, 0.1), (0.1, 0.1), (1.0, 0.001), (0.005, 1e-9)])
def test_whatever_the_settings_the_plan_is_the_solution(entropy: float, balance: float) -> None:
    pool, target = drawn(1, 40), drawn(2, 3)
    found = chosen(pool, {"t": target}, 40, method="uot", transport_entropy=entropy, transport_balance=balance).record
    kept = np.sort(found.rows)
    mass = plan(cosines(pool, target)[kept].round(12), entropy, balance).sum(axis=0)
    assert [step.score for step in found.steps] == pytest.approx(mass[np.searchsorted(kept, found.rows)], rel=1e-7)


def test_the_plan_costs_less_than_others_near_it() -> None:
    similarity, entropy, balance = cosines(drawn(3, 30), drawn(4, 4)), 0.05, 0.05
    solved = plan(similarity, entropy, balance)

    def objective(of: np.ndarray) -> float:
        def divergence(p: np.ndarray, q: float) -> float:
            return float((p * np.log(p / q) - p + q).sum())

        cost = float((of * (1 - similarity.T) / 2).sum())
        return cost + entropy * divergence(of, 1 / 120) + balance * divergence(of.sum(axis=0), 1 / 30)

    draw = np.random.default_rng(5)
    for _ in range(50):
        other = solved * np.exp(0.05 * draw.normal(size=solved.shape))
        other *= solved.sum(axis=1, keepdims=True) / other.sum(axis=1, keepdims=True)
        assert objective(other) > objective(solved)


def test_rows_that_are_held_to_equal_parts_serve_more_examples() -> None:
    target = np.eye(2, K, dtype=np.float16)
    pool = np.zeros((40, K), np.float16)
    pool[:, 2] = 1
    pool[:20, 0] = np.linspace(1, 2, 20)  # many for the first example, and nearer
    pool[20:, 1] = np.linspace(0.1, 0.9, 20)
    found = chosen(pool, {"t": target}, 10, method="uot").record.rows
    assert 3 <= (found < 20).sum() <= 7  # each example has as much to give, though no row is as near to the second
    assert (chosen(pool, {"t": target}, 10, method="less").record.rows < 20).all()


def test_budgets_of_tokens_quotas_included_rows_groups_and_several_targets_bind() -> None:
    pool, target, tokens = drawn(1, 80), drawn(2, 4), np.random.default_rng(3).integers(5, 15, 80)
    expected, _ = by_hand(pool, target)
    by_tokens = chosen(pool, {"t": target}, 90, Limits(num_tokens=tokens), method="uot").record
    assert 90 - 15 < by_tokens.spent <= 90
    assert by_tokens.rows.tolist() == expected[: len(by_tokens.steps)]
    groups = ("a", "b", "a", None)
    assert chosen(pool, {"t": target}, 9, groups=groups, method="uot").record.rows.tolist() == expected[:9]
    web = (np.arange(80) % 3 > 0) & (np.arange(80) != 6)
    limited = chosen(pool, {"t": target}, 8, Limits(included=(6,), quotas=[Quota("web", web, 2)]), method="uot").record
    without, _ = by_hand(pool, target, {6})
    allowed = [row for row in without if not web[row] or row in [of for of in without if web[of]][:2]]
    assert limited.rows.tolist() == [6, *allowed[:8]]
    targets = {"a": drawn(7, 3), "b": drawn(8, 3)}
    both = chosen(pool, targets, 20, method="uot").record.rows.tolist()
    first = by_hand(pool, targets["a"])[0][:10]
    assert both == first + by_hand(pool, targets["b"], set(first))[0][:10]


def test_one_row_takes_everything() -> None:
    found = chosen(drawn(1, 1), {"t": drawn(2, 3)}, 1, method="uot").record
    assert [step.score for step in found.steps] == pytest.approx([1.0], abs=1e-8)


def test_rows_in_a_file_beyond_memory_and_smaller_blocks_are_chosen_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "pool.npy", drawn(9, 300))
    expected = chosen(drawn(9, 300), {"t": drawn(10, 4)}, 90, method="uot").record.rows
    monkeypatch.setattr("g2is.selection.similarity.fits_in_memory", lambda _: False)
    monkeypatch.setattr("g2is.selection.selectors.uot._BLOCK_VALUES", 50)
    mapped = UnitRows(np.load(tmp_path / "pool.npy", mmap_mode="r"), block_values=5 * K, coarse=False)
    assert chosen(mapped, {"t": drawn(10, 4)}, 90, method="uot").record.rows.tolist() == expected.tolist()
