"""Nothing is taken against a target by default: rows that oppose it, selector by selector, and what is said of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.selection.apply import apply_selector
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.limits import Limits, Quota
from g2is.selection.problem import Selected, TargetRows
from g2is.selection.record import Walk
from g2is.selection.rules import passes_over_opposed
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk

K = 16
LOOKING: Mapping[str, Mapping[str, Any]] = {  # every selector that looks at similarity with the target
    "design": {"method": "design"},
    "walk": {"method": "g2is"},
    "top": {"method": "less"},
    "top by core score": {"method": "without-graph"},
    "round-robin": {"method": "less-rr"},
    "round-robin that loses turns": {"method": "rds+", "representation": "gradient"},
    "match": {"method": "match"},
    "gist": {"method": "gist"},
    "seed": {"method": "seed", "redundant_cosine": 1.0, "redundant_scale": 1.0},  # no row but a copy is redundant
    "interaction": {"method": "interaction"},
    "spice": {"method": "spice"},
    "bids": {"method": "bids"},
    "bids over targets": {"method": "bids", "balance": "target"},
    "knn, drawn": {"method": "tsds"},
    "knn of largest mass": {"method": "knn-kde"},
    "uot": {"method": "uot"},
}


def apply(
    pool: np.ndarray, targets: Mapping[str, np.ndarray], budget: int, limits: Limits | None = None, **of: Any
) -> Selected:
    settings = SelectionConfig(**{"duplicate_threshold": None, "budget": str(budget), **of})
    rows = {name: TargetRows(budget // len(targets), rows=target) for name, target in targets.items()}
    return apply_selector(len(pool), UnitRows(pool), rows, settings, limits or Limits())


def examples(seed: int, num: int = 3) -> np.ndarray:
    """Examples that share a direction: a row near the opposite of it opposes them all."""
    draw = np.random.default_rng(seed)
    return (np.eye(1, K) + 0.1 * draw.normal(size=(num, K))).astype(np.float32)


def opposing(seed: int, num: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (-np.eye(1, K) + 0.1 * draw.normal(size=(num, K))).astype(np.float32)


@pytest.mark.parametrize("name", LOOKING)
def test_of_a_pool_that_opposes_the_target_nothing_is_taken_and_that_is_said(name: str) -> None:
    with pytest.raises(SelectionError, match=r"expected at least one row, found none: .*no row agrees with ") as error:
        apply(opposing(1, 12), {"t": examples(2)}, 4, **LOOKING[name])
    assert "target 't': 0 of 4 rows" in str(error.value)
    assert "take_opposed" in str(error.value)


@pytest.mark.parametrize(
    "of",
    [
        *LOOKING.values(),
        {"method": "match", "take_opposed": True},
        {"method": "official"},
        {"method": "g2is", "orient": False},
        {"method": "without-graph", "orient": False},
    ],
    ids=str,
)
def test_what_is_said_of_a_selector_is_what_it_does(of: Mapping[str, Any]) -> None:
    try:
        takes = bool(apply(opposing(1, 12), {"t": examples(2)}, 4, **of).record.steps)
    except SelectionError:
        takes = False
    assert passes_over_opposed(SelectionConfig(**of)) is not takes


@pytest.mark.parametrize("name", LOOKING)
def test_take_opposed_takes_them(name: str) -> None:
    of = {**LOOKING[name], "take_opposed": True}
    if name == "design":  # to which they are worth nothing
        with pytest.raises(SelectionError, match="found none"):
            apply(opposing(1, 12), {"t": examples(2)}, 4, **of)
        return
    found = apply(opposing(1, 12), {"t": examples(2)}, 4, **of)
    assert len(found.record.steps) == 4
    assert "target 't': 4 of the rows selected for it oppose every example of it" in found.told()


@pytest.mark.parametrize("name", LOOKING)
def test_fewer_rows_than_the_budget_are_taken_where_the_others_oppose_the_target(name: str) -> None:
    pool = np.concatenate([opposing(1, 9), examples(3, 4), opposing(4, 9)])
    found = apply(pool, {"t": examples(2)}, 10, **LOOKING[name]).record
    assert sorted(found.rows.tolist()) == [9, 10, 11, 12]
    assert "4 of 10 rows" in str(found.ran_out)
    assert "18 " in str(found.ran_out), found.ran_out
    assert "oppose" in str(found.ran_out)


@pytest.mark.parametrize("name", LOOKING)
def test_rows_that_oppose_one_target_are_there_for_the_next(name: str) -> None:
    pool = np.concatenate([examples(3, 3), opposing(1, 9)])
    found = apply(pool, {"a": examples(2), "b": -examples(5)}, 12, **LOOKING[name]).record
    by_target = {name: [step.row for step in found.steps if step.target == name] for name in "ab"}
    assert sorted(by_target["a"]) == [0, 1, 2]
    assert len(by_target["b"]) >= 6
    assert set(by_target["b"]) <= set(range(3, 12))


@pytest.mark.parametrize("name", LOOKING)
@pytest.mark.parametrize("seed", range(6))
def test_no_row_that_opposes_every_example_is_taken_of_any_pool(name: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    pool, target = draw.normal(size=(60, 5)).astype(np.float32), draw.normal(size=(2, 5)).astype(np.float32)
    opposes = (pool.astype(float) @ target.astype(float).T < 0).all(axis=1)
    assert 5 < opposes.sum() < 30
    if (name, seed) == ("seed", 2):  # of 5 channels none stands out in pool and target both
        with pytest.raises(SelectionError, match="expected a channel"):
            apply(pool, {"t": target}, 60, **LOOKING[name])
        return
    found = apply(pool, {"t": target}, 60, **LOOKING[name]).record
    assert not opposes[found.rows].any()
    if name not in ("walk", "design"):  # which have reasons of their own to leave rows
        assert len(found.steps) == (~opposes).sum()


def test_a_component_that_no_row_agrees_with_is_named_and_its_rows_go_to_the_others() -> None:
    target = np.array([[1, 0, 0, 0]] * 3 + [[0.2, 1, 0, 0]] * 2, np.float32)
    core = core_knowledge(target, SelectionConfig(method="g2is", core_fraction=1.0))
    assert (core.mean_alignment > 0.01).all()
    draw = np.random.default_rng(0)
    pool = np.stack(
        [core.components[0] - 0.3 * core.components[1] + [0, 0, *draw.normal(size=2) * 0.2] for _ in range(9)]
    )
    settings = SelectionConfig(method="g2is", core_fraction=1.0, duplicate_threshold=None)
    found = walk(pool, core, 6, settings)
    assert [step.component for step in found.steps] == [0] * 6
    assert found.unanswered == ("target 'target': no row agrees with component 1",)
    assert found.ran_out is None
    short = walk(pool, core, 6, settings.model_copy(update={"exact_budget": False}))
    assert len(short.steps) < 6
    assert "component 1 after 0 of" in str(short.ran_out)
    assert short.unanswered == found.unanswered


def test_where_a_component_s_sign_says_nothing_no_row_opposes_it() -> None:
    settings = SelectionConfig(method="g2is", core_fraction=1.0, core_mode="variance")
    core = CoreKnowledge(np.array([[1.0, -1, 0]]), np.ones(1), np.zeros(1), 2, 0)  # at right angles to the mean
    near_the_second = np.array([[0.1, 0.9, 0.2], [0.0, 0.8, -0.4]], np.float32)
    assert len(walk(near_the_second, core, 2, settings).steps) == 2
    aligned = dataclasses.replace(core, mean_alignment=np.array([0.5]))
    assert len(walk(near_the_second, aligned, 2, settings).steps) == 0


def test_the_authors_walk_takes_what_opposes_components_whose_sign_is_arbitrary() -> None:
    settings = SelectionConfig(method="official", exact_budget=True)
    core = core_knowledge(examples(2), settings)
    found = apply(opposing(1, 9), {"t": examples(2)}, 4, method="official", exact_budget=True).record
    assert found.rows.tolist() == walk(opposing(1, 9), core, 4, settings).rows.tolist()
    assert len(found.steps) == 4


def test_an_example_that_no_row_agrees_with_is_counted_and_takes_no_turn() -> None:
    pool, target = examples(3, 6), np.concatenate([examples(2, 2), -examples(2, 1)])
    found = apply(pool, {"t": target}, 6, method="less-rr").record
    assert len(found.steps) == 6
    assert all(step.score > 0 for step in found.steps)
    assert found.unanswered == ("target 't': no row agrees with 1 of its 3 examples",)


def test_rows_at_right_angles_to_the_target_oppose_nothing() -> None:
    pool, target = np.eye(4, dtype=np.float32)[1:], np.eye(4, dtype=np.float32)[:1]
    for name in ("top", "round-robin", "match", "walk"):
        assert len(apply(pool, {"t": target}, 3, **LOOKING[name]).record.steps) == 3, name


def test_a_row_that_opposes_the_target_fills_no_quota() -> None:
    pool = np.concatenate([opposing(1, 5), examples(3, 4)])
    web = np.arange(9) < 7
    limits = Limits(quotas=[Quota("web", web, 2)])
    for name in LOOKING:
        found = apply(pool, {"t": examples(2)}, 4, limits, **LOOKING[name]).record
        assert sorted(found.rows.tolist()) == [5, 6, 7, 8], name


@pytest.mark.parametrize("shared_conflicts", [False, True])
def test_the_walk_passes_over_opposing_rows_without_asking_one_by_one(shared_conflicts: bool) -> None:
    pool = np.concatenate([opposing(1, 400), examples(3, 5)])
    # a core that most rows agree with, and examples that they oppose
    settings: dict[str, Any] = {"method": "g2is", "cross_component_conflicts": shared_conflicts}
    found = apply(pool, {"t": examples(2)}, 5, **settings).record
    assert isinstance(found, Walk)
    assert sorted(found.rows.tolist()) == list(range(400, 405))
