"""GIST and SEED, against plain float64 loops of the published formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chosen_rows import chosen, drawn

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.methods import selector_kind
from g2is.selection.limits import Limits
from g2is.selection.pick import all_open, pick
from g2is.selection.problem import Problem
from g2is.selection.similarity import UnitRows

K = 24
NAMES = ("gist", "seed")
Floats = np.ndarray


def rows_of(seed: int, num: int = 60, spread: float = 1.0) -> Floats:
    draw = np.random.default_rng(seed)
    return (draw.normal(size=K) * (1 - spread) + spread * draw.normal(size=(num, K))).astype(np.float32)


def unit(rows: Floats) -> Floats:
    exact = rows.astype(np.float64)
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-300)


def taken(
    name: str, pool: Floats, target: Floats, budget: int, groups: Any = (), open_rows: Floats | None = None, **of: Any
) -> list[tuple[int, float]]:
    settings = SelectionConfig(method=name, **{"take_opposed": True, **of})
    rows = UnitRows(pool)
    opened = rows.nodes.copy() if open_rows is None else open_rows
    problem = Problem("t", budget, np.ones(len(pool), np.int64), opened, settings, rows, target, None, groups)
    select = selector_kind(name).select
    assert select is not None
    return [(step.row, step.score) for step in pick([problem], select, Limits()).steps]


def check(found: list[tuple[int, float]], order: list[int], score: Floats) -> None:
    assert [row for row, _ in found] == order[: len(found)]
    np.testing.assert_allclose([value for _, value in found], score[order[: len(found)]], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("groups", [(), ("a", "b", "a", None, "b", "b")])
def test_gist_is_the_cosine_with_a_group_s_mean_in_the_target_s_subspace(seed: int, groups: Any) -> None:
    pool, target = rows_of(seed), rows_of(seed + 50, 6)
    _, lengths, basis = np.linalg.svd(unit(target))
    num = next(n for n in range(1, 7) if (lengths[:n] ** 2).sum() >= 0.7 * (lengths**2).sum())
    score = np.full(60, -np.inf)
    for group in set(groups) or {None}:
        members = [row for row in range(6) if not groups or groups[row] == group]
        mean = basis[:num] @ unit(target)[members].mean(axis=0)
        for row in range(60):
            part = basis[:num] @ unit(pool)[row]
            score[row] = max(score[row], part @ mean / np.linalg.norm(part) / np.linalg.norm(mean))
    found = taken("gist", pool, target, 20, groups, subspace_variance=0.7)
    check(found, np.argsort(-score, kind="stable").tolist(), score)


def test_in_a_subspace_of_one_direction_the_row_that_lies_in_it_most_goes_first() -> None:
    pool, target = rows_of(1), rows_of(2, 1)
    pool[37] = target[0]
    order = np.argsort(-(unit(pool) @ unit(target)[0]), kind="stable").tolist()
    check(taken("gist", pool, target, 8), order, np.ones(60))


@pytest.mark.parametrize("seed", range(4))
def test_seed_is_the_greedy_independent_set_of_the_published_graph(seed: int) -> None:
    pool = np.concatenate([rows_of(seed, 40, 0.4), rows_of(seed + 9, 40, 0.4), rows_of(seed + 20, 20)])
    target = rows_of(seed, 6, 0.5)
    units, examples = unit(pool), unit(target)
    of_pool, of_target = np.abs(units).mean(0), np.abs(examples).mean(0)
    mask = (of_pool > of_pool.mean()) & (of_target > of_target.mean())
    groups = ("a", "b", "a", "b", "b", "a")
    products = units[:, mask] @ examples[:, mask].T
    score = np.maximum(products[:, [0, 2, 5]].mean(1), products[:, [1, 3, 4]].mean(1))
    cosines = units @ units.T
    edges: list[set[int]] = [set() for _ in pool]
    for row in range(100):
        nearest = sorted((other for other in range(100) if other != row), key=lambda other: -cosines[row, other])[:20]
        bar = max(0.7, 0.95 * cosines[row, nearest[-1]])
        for other in nearest:
            if cosines[row, other] >= bar:
                edges[row].add(other)
                edges[other].add(row)
    order: list[int] = []
    for row in np.argsort(-score, kind="stable").tolist():
        if not edges[row] & set(order):
            order.append(row)
    assert 20 < len(order) < 90
    found = taken("seed", pool, target, 100, groups)
    assert len(found) == len(order)
    check(found, order, score)


@pytest.mark.parametrize("name", NAMES)
def test_edges(name: str) -> None:
    pool = rows_of(1, 40)
    pool[[3, 17]] = 0
    for num in (1, 2):
        rows = [row for row, _ in taken(name, pool, rows_of(2, num), 40)]
        assert len(set(rows)) == len(rows) > 0
        assert not {3, 17} & set(rows)
    alone = [row for row, _ in taken(name, pool[:1], rows_of(2, 2), 1)]
    assert alone == [0]
    target = rows_of(2, 3)
    opposes = (unit(pool) @ unit(target).T < 0).all(axis=1)
    rows = [row for row, _ in taken(name, pool, target, 40, take_opposed=False)]
    assert opposes.any()
    assert not opposes[rows].any()
    opened = np.arange(40) >= 20
    assert min(row for row, _ in taken(name, pool, target, 9, open_rows=opened)) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_blocks_and_a_coarse_copy_change_no_row_and_tokens_bind(name: str) -> None:
    pool, target = rows_of(3, 80, 0.5), rows_of(3, 4, 0.5)
    select, settings = selector_kind(name).select, SelectionConfig(method=name)
    assert select is not None
    costs = np.random.default_rng(0).integers(1, 9, 80)
    found = []
    for rows in (UnitRows(pool), UnitRows(pool, block_values=K * 3), UnitRows(pool, quantise=True)):
        problem = Problem("t", 60, costs, all_open(80), settings, rows, target)
        found.append(pick([problem], select, Limits(num_tokens=costs)))
    assert found[0].rows.tolist() == found[1].rows.tolist() == found[2].rows.tolist()
    assert 0 < costs[found[0].rows].sum() <= 60


@pytest.mark.parametrize("name", ["gist"])
def test_equal_rows_tie_to_the_lowest(name: str) -> None:
    pool = np.repeat(rows_of(5, 20), 3, axis=0)
    rows = [row for row, _ in taken(name, pool, rows_of(6, 4), 60)]
    for first in range(20):
        copies = [row for row in rows if row // 3 == first]
        assert copies == sorted(copies)


def test_groups_that_cancel_and_channels_that_do_not_stand_out_are_refused() -> None:
    row = rows_of(1, 1)
    with pytest.raises(SelectionError, match="gist: expected a group"):
        taken("gist", rows_of(2), np.concatenate([row, -row]), 4)
    with pytest.raises(SelectionError, match="seed: expected a channel"):
        taken("seed", np.ones((5, K), np.float32), row, 2)
    for num_rows in range(2, 40):  # as stored as signs: sums of equal values, whose mean rounding may put below them
        with pytest.raises(SelectionError, match="stored as signs have none"):
            taken("seed", np.sign(drawn(num_rows, num_rows)), row, 2)


def test_of_more_copies_than_neighbours_seed_takes_the_lowest_alone() -> None:
    pool = drawn(1, 60)
    pool[10:45] = pool[9]
    rows = chosen(pool, {"t": drawn(2, 4)}, 60, method="seed").record.rows.tolist()
    assert [row for row in rows if 9 <= row < 45] == [9]


@pytest.mark.parametrize("name", NAMES)
def test_each_target_begins_anew_with_the_rows_left_and_included_rows_come_first(name: str) -> None:
    pool, targets = drawn(3, 60), {"a": drawn(4, 3), "b": drawn(5, 3)}
    rows = chosen(pool, targets, 20, method=name).record.rows.tolist()
    first = chosen(pool, {"a": targets["a"]}, 10, method=name).record.rows.tolist()
    rest = [row for row in chosen(pool, {"b": targets["b"]}, 60, method=name).record.rows.tolist() if row not in first]
    assert rows[:10] == first
    assert len(set(rows)) == 20
    if name == "gist":  # what seed takes for b depends on which of its rows are gone
        assert rows[10:] == rest[:10]
    included = chosen(pool, {"a": targets["a"]}, 10, Limits(included=(3,)), method=name).record.rows.tolist()
    assert included[0] == 3
    assert 3 not in included[1:]


@pytest.mark.parametrize("name", NAMES)
def test_rows_in_a_file_beyond_memory_are_chosen_alike(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "pool.npy", drawn(9, 300))
    expected = chosen(drawn(9, 300), {"t": drawn(10, 4)}, 40, method=name).record.rows
    monkeypatch.setattr("g2is.selection.similarity.fits_in_memory", lambda _: False)
    mapped = UnitRows(np.load(tmp_path / "pool.npy", mmap_mode="r"), block_values=5 * K, coarse=False)
    assert chosen(mapped, {"t": drawn(10, 4)}, 40, method=name).record.rows.tolist() == expected.tolist()
