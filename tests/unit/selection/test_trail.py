"""A trail's steps keep rules (a) and (b) and their exceptions, one rule a test."""

from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.selection.candidates import Candidates
from g2is.selection.rules import Rules
from g2is.selection.similarity import UnitRows
from g2is.selection.trail import Taken, Trail

OFF = {  # every rule out of the way; a test turns on the one it is about
    "selector": "walk",
    "delta": 0.0,
    "conflict_tolerance": 1.0,
    "consistency_sign": "absolute",
    "consistency_reference": "previous",
    "duplicate_threshold": None,
}


def at(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def start(pool: np.ndarray, graph: np.ndarray | None = None, direction: Any = (1.0, 0.0), **changes: Any) -> Trail:
    settings = SelectionConfig(**{**OFF, **changes})
    rows = UnitRows(pool)
    candidates = Candidates(rows, Rules.resolve(settings, rows.k), keep_zero_rows=False)
    direction = np.asarray(direction, dtype=np.float64)
    return Trail(candidates, direction, rows.cosines(direction), graph)


def take_all(trail: Trail) -> list[Taken]:
    taken = []
    while (row := trail.look()) is not None:
        trail.add(row)
        taken.append(row)
    return taken


def rows_of(taken: list[Taken]) -> list[int]:
    return [each.row for each in taken]


def test_the_anchor_is_nearest_to_core_knowledge_and_each_next_row_to_the_last() -> None:
    taken = take_all(start(at(50, 5, -10, 90, 20)))
    assert rows_of(taken) == [1, 2, 4, 0, 3]
    assert [each.role for each in taken] == ["anchor", "step", "step", "step", "step"]


def test_the_recorded_similarities_are_cosines() -> None:
    anchor, step = take_all(start(at(10, 40)))
    assert np.isnan(anchor.similarity_to_previous)
    assert anchor.similarity_to_core == pytest.approx(np.cos(np.radians(10)))
    assert anchor.consistency == pytest.approx(np.cos(np.radians(10)))
    assert step.similarity_to_previous == pytest.approx(np.cos(np.radians(30)))
    assert step.similarity_to_core == pytest.approx(np.cos(np.radians(40)))
    assert step.consistency == pytest.approx(np.cos(np.radians(25)))


def test_a_conflict_with_any_taken_row_of_the_trail_refuses_a_row() -> None:
    pool = at(0, 60, 95)  # 95° agrees with 60° but conflicts with 0°
    assert rows_of(take_all(start(pool, conflict_tolerance=0.0))) == [0, 1]
    assert rows_of(take_all(start(pool, conflict_tolerance=0.1))) == [0, 1, 2]


def test_an_orthogonal_row_is_no_conflict_even_if_rounding_makes_its_cosine_negative() -> None:
    pool = np.array([[3.0, 1.0], [-1.0, 3.0]]) / np.array([[7.0], [3.0]])
    pool[1, 0] = np.nextafter(pool[1, 0], -1)
    assert pool[0] @ pool[1] < 0
    assert rows_of(take_all(start(pool, conflict_tolerance=0.0))) == [0, 1]


def test_the_noise_tolerance_is_two_over_the_root_of_k() -> None:
    k = 400  # noise 0.1
    pool = np.zeros((3, k))
    pool[0, 0] = 1
    for row, cosine in ((1, -0.099), (2, -0.101)):
        pool[row, 0], pool[row, row] = cosine, np.sqrt(1 - cosine**2)
    taken = take_all(start(pool, direction=np.eye(k)[0], conflict_tolerance="noise"))
    assert rows_of(taken) == [0, 1]


def test_consistency_bounds_the_fall_from_the_step_before_or_from_the_anchor_or_the_best() -> None:
    # cos(S', K) after each step: 1, cos 15 = .97, cos 30 = .87, cos 45 = .71, cos 60 = .5, each above 0.7 of the last.
    pool = at(0, 30, 60, 90, 120)
    assert rows_of(take_all(start(pool, delta=0.7))) == [0, 1, 2, 3, 4]
    for reference in ("anchor", "best"):
        assert rows_of(take_all(start(pool, delta=0.7, consistency_reference=reference))) == [0, 1, 2, 3]


def test_best_holds_against_the_highest_value_so_far_which_may_be_above_the_anchors() -> None:
    pool = at(20, -25, -80)  # cos(S', K): .94, then .999, then .885: at least 0.92 of the first, not of the second
    assert rows_of(take_all(start(pool, delta=0.92, consistency_reference="anchor"))) == [0, 1, 2]
    assert rows_of(take_all(start(pool, delta=0.92, consistency_reference="best"))) == [0, 1]


def test_only_the_absolute_rule_lets_the_sum_turn_to_the_far_side() -> None:
    pool = np.array([[0.1, 1.0], [-0.5, 1.0]])  # S' turns from +K to -K
    assert rows_of(take_all(start(pool, delta=0.8, consistency_sign="absolute"))) == [0, 1]
    assert rows_of(take_all(start(pool, delta=0.8, consistency_sign="signed"))) == [0]


def test_near_copies_of_a_taken_row_are_skipped() -> None:
    pool = at(0, 1, 2, 30)
    assert rows_of(take_all(start(pool, duplicate_threshold=0.999))) == [0, 3]
    assert rows_of(take_all(start(pool, duplicate_threshold=0.9998))) == [0, 2, 3]
    assert rows_of(take_all(start(pool))) == [0, 1, 2, 3]


def test_a_threshold_of_one_skips_exact_copies_at_any_length() -> None:
    pool = np.array([[1.0, 3.0], [1.0, 3.0], [0.1, 0.3], [1.0, 3.1]])
    assert sorted(rows_of(take_all(start(pool, duplicate_threshold=1.0)))) == [0, 3]


def test_ties_go_to_the_lowest_row() -> None:
    pool = np.concatenate([at(0), at(20, 20, -20) * np.array([[3.0], [7.0], [5.0]])])
    assert rows_of(take_all(start(pool))) == [0, 1, 2, 3]


def test_with_a_graph_the_step_looks_only_at_the_list_in_its_order() -> None:
    pool = at(0, 10, 20, 30)
    graph = np.array([[0, 2], [0, 1], [3, 2], [3, 1]])
    taken = take_all(start(pool, graph))
    assert [(each.row, each.role) for each in taken] == [(0, "anchor"), (2, "step"), (3, "step"), (1, "step")]


def test_the_fallback_takes_the_row_nearest_to_core_knowledge_that_keeps_the_rules() -> None:
    pool = at(0, 170, 70, 60)
    graph = np.array([[0], [1], [2], [3]])  # everyone knows only itself
    taken = take_all(start(pool, graph, conflict_tolerance=0.0))
    assert [(each.row, each.role) for each in taken] == [(0, "anchor"), (3, "fallback"), (2, "fallback")]
    assert taken[1].similarity_to_previous == pytest.approx(0.5)


def test_a_zero_row_is_never_taken_unless_it_is_kept_as_a_node() -> None:
    pool = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert rows_of(take_all(start(pool))) == [1, 2]
    rows = UnitRows(pool)
    rules = Rules.resolve(SelectionConfig(**{**OFF, "conflict_tolerance": 0.0, "delta": 1.0}), 2)
    direction = np.array([1.0, 0.0])
    kept = Candidates(rows, rules, keep_zero_rows=True)
    trail = Trail(kept, direction, rows.cosines(direction), None)
    assert rows_of(take_all(trail)) == [1, 0], "a zero row conflicts with nothing and leaves S' as it is"


def test_a_sum_that_cancels_has_no_consistency() -> None:
    anchor, step = take_all(start(np.array([[1.0, 2.0], [-1.0, -2.0]])))
    assert anchor.consistency > 0
    assert step.consistency == 0


@pytest.mark.parametrize("seed", range(10))
def test_resting_changes_nothing(seed: int) -> None:
    """What a resting trail dropped is made again from S' and its last row when it goes on."""
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(80, 12)) + 0.4
    rules: dict[str, Any] = {"delta": 0.97, "conflict_tolerance": 0.0, "consistency_reference": "anchor"}
    direction = np.full(12, 12**-0.5)
    whole = take_all(start(pool, direction=direction, **rules))
    trail = start(pool, direction=direction, **rules)
    resting = []
    while (taken := trail.look()) is not None:
        trail.add(taken)
        resting.append(taken)
        trail.rest()
    assert len(whole) > 5
    assert resting == whole
