"""TSDS, KNN-KDE and KNN-Uniform against their formulas, as plain loops."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chosen_rows import K, chosen, cosines, drawn, units

from g2is.config import SelectionConfig
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits, Quota
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows

FORMS: dict[str, dict[str, Any]] = {  # what each method stands for, in the publications' own terms
    "tsds": {"alpha": 0.5, "width": 0.75, "is_cosine": False},
    "knn-kde": {"alpha": 0.01, "width": 0.75, "is_cosine": True},
    "knn-uniform": {"alpha": 0.01, "width": 0.0, "is_cosine": True},
}


def density(row: int, among: Collection[int], similarity: np.ndarray, width: float, most: int) -> float:
    """Σ max(0, 1 - d²/σ²) over the rows nearest to `row`, itself among them."""
    squares = sorted(2 * (1 - round(float(similarity[row, other]), 12)) for other in among)[:most]
    return sum(max(0.0, 1 - square / width**2) for square in squares)


def _nearest(rows: list[int], of: np.ndarray) -> list[int]:
    return sorted(rows, key=lambda row: (-of[row], row))


def by_hand(
    pool: np.ndarray,
    target: np.ndarray,
    alpha: float,
    width: float,
    is_cosine: bool,
    constant: float = 5.0,
    closed: Collection[int] = (),
    most: int = 5000,
) -> dict[int, float]:
    """The probability of each row that is not `closed`, by the publication's steps."""
    similarity, among_rows = cosines(pool, target).round(12), units(pool) @ units(pool).T
    rows = [row for row in range(len(pool)) if row not in closed and (similarity[row] >= 0).any()]
    num = max(2, min(most, len(rows) // 10))
    lists = [_nearest(rows, similarity[:, at])[:num] for at in range(len(target))]
    reached = {row for of in lists for row in of}
    share = {
        row: 1 / density(row, reached, among_rows, width, max(1, len(rows) // 10)) if width else 1.0 for row in reached
    }
    away = []
    for at, of in enumerate(lists):
        gaps = [max(0.0, 1 - float(similarity[row, at])) for row in of]
        away.append(gaps if is_cosine else [float(np.sqrt(2 * gap)) for gap in gaps])

    def cost(level: float) -> float:
        total = 0.0
        for of, distances in zip(lists, away, strict=True):
            filled, sofar, here = 0.0, 0.0, 0.0
            for at in range(num - 1):
                filled += share[of[at]]
                sofar += distances[at] * share[of[at]]
                if filled > level:
                    break
                here = distances[at + 1] * filled - sofar
            total += here
        return total

    levels = sorted({level for of in lists for level in np.cumsum([share[row] for row in of[:-1]]).tolist()})
    ends = [level for level in levels if alpha / constant * cost(level) >= (1 - alpha) * len(target)]
    level = ends[0] if ends else levels[-1]
    found = dict.fromkeys(rows, 0.0)
    for of in lists:
        left = 1 / len(target)
        for row in of[:-1]:
            part = min(left, share[row] / (level * len(target)))
            found[row] += part
            left -= part
        found[of[-1]] += left
    return found


def order(probability: dict[int, float], similarity: np.ndarray) -> list[int]:
    """The largest probabilities first, then rows without by their nearest example."""

    def place(row: int) -> tuple[float, float, int]:
        mass = round(probability[row], 10)
        return -mass, 0.0 if mass else -round(float(similarity[row].max()), 12), row

    return sorted(probability, key=place)


def with_copies(seed: int, num_rows: int) -> np.ndarray:
    """Rows, copies and near-copies of some, a zero row and one that opposes what the rows have in common."""
    rows = drawn(seed, num_rows)
    near = np.random.default_rng(seed + 100).normal(size=(20, K)) * 0.3
    rows[40:60] = rows[10] + near
    rows[60:64] = rows[11]
    rows[3] = 0
    rows[7] = -5 * np.eye(1, K)[0]
    return rows


@pytest.mark.parametrize("num_examples", [1, 5])
@pytest.mark.parametrize("method", ["knn-kde", "knn-uniform"])
@pytest.mark.parametrize("spread", [None, 0.0, 0.05, 0.7])
def test_it_takes_rows_as_the_formula_does(method: str, num_examples: int, spread: float | None) -> None:
    pool, target = with_copies(num_examples, 200), drawn(50, num_examples)
    of = FORMS[method]
    if spread is not None:
        of = of | {"alpha": 1 / (1 + spread), "constant": 1.0}
    more: dict[str, Any] = {} if spread is None else {"spread": spread}
    found = chosen(pool, {"t": target}, 198, method=method, **more).record
    probability = by_hand(pool, target, closed={3}, **of)
    assert 7 not in probability
    assert found.rows.tolist() == order(probability, cosines(pool, target))
    assert [step.score for step in found.steps] == pytest.approx([probability[row] for row in found.rows], abs=1e-8)
    assert sum(step.score for step in found.steps) == pytest.approx(1, abs=1e-6)


def test_uniform_neighbours_are_as_many_as_the_published_loop_counts() -> None:
    pool, target = drawn(1, 300), drawn(2, 6)
    distances = np.sort(1 - cosines(pool, target), axis=0)
    num = 1
    while sum(distances[num, at] - distances[k, at] for at in range(6) for k in range(num)) < 0.3 * 6:
        num += 1
    assert 3 < num < 28
    counts = np.zeros(300)
    for at in range(6):
        counts[np.argsort(1 - cosines(pool, target)[:, at], kind="stable")[:num]] += 1 / (num * 6)
    found = chosen(pool, {"t": target}, int((counts > 0).sum()), method="knn-uniform", spread=0.3).record
    assert found.rows.tolist() == np.argsort(-counts.round(12), kind="stable")[: len(found.steps)].tolist()
    assert [step.score for step in found.steps] == pytest.approx(counts[found.rows].tolist(), abs=1e-9)


def test_near_copies_share_the_place_of_one() -> None:
    pool, target = np.zeros((100, K), np.float32), np.eye(1, K, dtype=np.float32)
    pool[:, 0], pool[np.arange(100), 1 + np.arange(100) % 23] = 0.2, 1
    pool[:5] = np.eye(1, K) + 0.5 * np.eye(2, K)[1]  # five copies, nearest to the target
    pool[5:10] = np.eye(1, K) + 0.6 * np.eye(8, K)[3:]  # five that are no copies, next to it
    scores = {}
    for width in (0.0, 0.3):
        found = chosen(pool, {"t": target}, 10, method="knn-kde", kernel_width=width, spread=1.0).record
        scores[width] = {step.row: step.score for step in found.steps}
    assert scores[0.0][0] == pytest.approx(scores[0.0][5])
    assert scores[0.3][0] == pytest.approx(scores[0.3][5] / 5)


@pytest.mark.slow
def test_rows_are_drawn_in_proportion_to_their_probability() -> None:
    pool, target = with_copies(3, 100), drawn(4, 3)
    probability = by_hand(pool, target, closed={3}, **FORMS["tsds"])
    assert sum(1 for of in probability.values() if of) < 40
    first, second = np.zeros(100), np.zeros(100)
    for seed in range(1000):
        rows = chosen(pool, {"t": target}, 2, method="tsds", seed=seed).record.rows
        first[rows[0]] += 1
        second[rows[1]] += 1
    for row, of in probability.items():
        assert abs(first[row] / 1000 - of) <= 4.5 * np.sqrt(of * (1 - of) / 1000), row
        # drawn second: another one was first, and this is the next different one
        then = sum(other * of / (1 - other) for at, other in probability.items() if at != row)
        assert abs(second[row] / 1000 - then) <= 4.5 * np.sqrt(then * (1 - then) / 1000) + 1e-12, row


def test_a_draw_is_decided_by_seed_and_content_whatever_the_order_of_the_pool() -> None:
    pool, target = drawn(5, 200), {"t": TargetRows(20, rows=drawn(6, 4))}
    keys = np.random.default_rng(7).integers(0, 256, (200, 16), dtype=np.uint8)
    settings = {seed: SelectionConfig(method="tsds", seed=seed) for seed in (0, 1)}
    place = np.random.default_rng(8).permutation(200)
    found = apply_selector(200, UnitRows(pool), target, settings[0], Limits(), keys=keys).record.rows
    moved = apply_selector(200, UnitRows(pool[place]), target, settings[0], Limits(), keys=keys[place]).record.rows
    assert place[moved].tolist() == found.tolist()
    other = apply_selector(200, UnitRows(pool), target, settings[1], Limits(), keys=keys).record.rows
    assert set(other.tolist()) != set(found.tolist())
    assert len(set(found.tolist())) == 20


@pytest.mark.parametrize("method", FORMS)
def test_after_the_rows_with_mass_come_those_nearest_to_an_example(method: str) -> None:
    pool, target = drawn(9, 120), drawn(10, 2)
    probability = by_hand(pool, target, **FORMS[method])
    found = chosen(pool, {"t": target}, 100, method=method).record.rows.tolist()
    num = sum(1 for of in probability.values() if of > 1e-10)
    assert {row for row in found[:num] if probability[row] > 1e-10} == set(found[:num])
    rest = [row for row in order(probability, cosines(pool, target)) if probability[row] <= 1e-10]
    assert found[num:] == rest[: 100 - num]


def test_budgets_of_tokens_quotas_included_rows_groups_and_several_targets_bind() -> None:
    pool, target, tokens = drawn(1, 150), drawn(2, 4), np.random.default_rng(3).integers(5, 15, 150)
    expected = order(by_hand(pool, target, **FORMS["knn-kde"]), cosines(pool, target))
    by_tokens = chosen(pool, {"t": target}, 90, Limits(num_tokens=tokens), method="knn-kde").record
    assert 90 - 15 < by_tokens.spent <= 90
    assert by_tokens.rows.tolist() == expected[: len(by_tokens.steps)]
    groups = ("a", "b", "a", None)  # the publications know none
    assert chosen(pool, {"t": target}, 9, groups=groups, method="knn-kde").record.rows.tolist() == expected[:9]
    web = (np.arange(150) % 3 > 0) & (np.arange(150) != 6)
    limits = Limits(included=(6,), quotas=[Quota("web", web, 2)])
    limited = chosen(pool, {"t": target}, 8, limits, method="knn-kde").record
    without = order(by_hand(pool, target, closed={6}, **FORMS["knn-kde"]), cosines(pool, target))
    allowed = [row for row in without if not web[row] or row in [of for of in without if web[of]][:2]]
    assert limited.rows.tolist() == [6, *allowed[:8]]
    targets = {"a": drawn(7, 3), "b": drawn(8, 3)}
    both = chosen(pool, targets, 20, method="knn-kde").record.rows.tolist()
    first = order(by_hand(pool, targets["a"], **FORMS["knn-kde"]), cosines(pool, targets["a"]))[:10]
    left = by_hand(pool, targets["b"], closed=set(first), **FORMS["knn-kde"])
    assert both == first + order(left, cosines(pool, targets["b"]))[:10]


def test_the_most_neighbours_are_as_asked() -> None:
    pool, target = drawn(11, 200), drawn(12, 3)
    found = chosen(pool, {"t": target}, 30, method="knn-kde", most_neighbors=4).record
    probability = by_hand(pool, target, most=4, **FORMS["knn-kde"])
    assert found.rows.tolist() == order(probability, cosines(pool, target))[:30]
    assert sum(step.score > 0 for step in found.steps) <= 12


@pytest.mark.parametrize("num_rows", [1, 2, 3, 9])
@pytest.mark.parametrize("method", FORMS)
def test_a_pool_of_few_rows_is_taken_whole(method: str, num_rows: int) -> None:
    found = chosen(drawn(13, num_rows), {"t": drawn(14, 2)}, num_rows, method=method).record
    assert sorted(found.rows.tolist()) == list(range(num_rows))
    assert sum(step.score for step in found.steps) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", FORMS)
def test_rows_in_a_file_beyond_memory_and_smaller_blocks_are_chosen_alike(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = with_copies(9, 300)
    np.save(tmp_path / "pool.npy", pool)
    expected = chosen(pool, {"t": drawn(10, 4)}, 90, method=method).record
    monkeypatch.setattr("g2is.selection.similarity.fits_in_memory", lambda _: False)
    monkeypatch.setattr("g2is.selection.selectors.knn._AT_ONCE", 7)
    mapped = UnitRows(np.load(tmp_path / "pool.npy", mmap_mode="r"), block_values=5 * K, coarse=False)
    found = chosen(mapped, {"t": drawn(10, 4)}, 90, method=method).record
    assert found.rows.tolist() == expected.rows.tolist()
    assert [step.score for step in found.steps] == [step.score for step in expected.steps]
