"""The walk over components and targets: shares, re-deals, new anchors, endings and refusals."""

from typing import Any

import numpy as np
import pytest
import torch

from g2is.config import SelectionConfig
from g2is.errors import MatrixError, SelectionError
from g2is.selection.core import CoreKnowledge
from g2is.selection.limits import Limits, Quota
from g2is.selection.record import Walk
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import TargetShare, walk, walk_targets

PLAIN = {
    "selector": "walk",
    "exact_budget": True,
    "delta": 0.0,
    "conflict_tolerance": 0.0,
    "consistency_sign": "absolute",
    "consistency_reference": "previous",
    "duplicate_threshold": None,
    "cross_component_conflicts": False,
}


def settings(**changes: Any) -> SelectionConfig:
    return SelectionConfig(**{**PLAIN, **changes})


def core(directions: list[list[float]], variance: list[float]) -> CoreKnowledge:
    return CoreKnowledge(np.array(directions), np.array(variance), np.zeros(len(variance)), 5, 0)


X, Y = [1.0, 0.0], [0.0, 1.0]
AXES = core([X, Y], [0.5, 0.5])
# Rows 0-2 lie along -x, in conflict with rows 3-8, which lie along +x.
TWO_SIDES = np.array([[-1, 0.01 * i] for i in range(3)] + [[1, 0.01 * i] for i in range(6)])
SIDES = core([[-1.0, 0.0], X], [0.5, 0.5])


def roles(result: Walk) -> list[str]:
    return [step.role for step in result.steps]


def test_each_component_takes_its_share_round_its_own_direction() -> None:
    pool = np.array([[1, 0.1], [0.1, 1], [1, 0.2], [0.2, 1]])
    result = walk(pool, AXES, 4, settings())
    assert result.rows.tolist() == [0, 2, 1, 3]
    assert [step.component for step in result.steps] == [0, 0, 1, 1]
    assert result.budgets == [2, 2]
    assert result.ran_out is None


def test_a_component_without_a_share_takes_no_anchor() -> None:
    result = walk(np.eye(2), core([X, Y], [0.9, 0.1]), 1, settings())
    assert [step.component for step in result.steps] == [0]
    assert [report.num_trails for report in result.components] == [1, 0]


def test_without_exact_budget_a_dry_component_ends_short_and_the_report_says_where() -> None:
    result = walk(TWO_SIDES, SIDES, 8, settings(exact_budget=False))
    assert result.rows.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert [report.dry_after for report in result.components] == [3, None]
    assert result.ran_out is not None
    assert "7 of 8 rows" in result.ran_out
    assert "component 0 after 3 of 4 rows" in result.ran_out


def test_what_a_dry_component_leaves_goes_to_those_that_are_not_dry_who_go_on_with_their_trails() -> None:
    result = walk(TWO_SIDES, SIDES, 8, settings())
    assert result.rows.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert roles(result) == ["anchor", "step", "step", "anchor", "step", "step", "step", "refill"]
    assert result.steps[-1].component == 1
    assert result.steps[-1].trail == result.steps[3].trail
    assert result.steps[-1].similarity_to_previous > 0.99
    assert [report.num_refills for report in result.components] == [0, 1]
    assert result.num_refills == 1


def test_when_all_are_dry_new_anchors_begin_new_trails_until_the_budget_is_full() -> None:
    result = walk(TWO_SIDES, core([[-1.0, 0.0]], [1.0]), 9, settings())
    assert sorted(result.rows.tolist()) == list(range(9))
    assert roles(result) == ["anchor", "step", "step", *["refill"] * 6]
    begins = [step.order for step in result.steps if np.isnan(step.similarity_to_previous)]
    assert begins == [0, 3]
    assert [step.trail for step in result.steps] == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert result.components[0].num_trails == 2
    assert result.components[0].dry_after == 3
    assert result.ran_out is None


def test_re_dealt_rows_are_shared_by_variance() -> None:
    # Components 1 and 2 have room on their own axes; component 0 has one row and leaves five.
    k = 4
    pool = np.concatenate([np.tile(np.eye(k)[axis] - 0.2, (count, 1)) for axis, count in ((0, 1), (1, 9), (2, 9))])
    axes = CoreKnowledge(np.eye(k)[:3], np.array([0.6, 0.3, 0.1]), np.zeros(3), 5, 0)
    result = walk(pool, axes, 10, settings())
    assert result.budgets == [6, 3, 1]
    assert [report.num_taken for report in result.components] == [1, 3 + 4, 1 + 1]  # 5 · 3/4 = 3.75, 5 · 1/4 = 1.25


def test_a_pool_of_near_copies_runs_out_and_the_report_says_in_which_step() -> None:
    pool = np.repeat(np.eye(3), 4, axis=0)
    one = CoreKnowledge(np.ones((1, 3)) / 3**0.5, np.ones(1), np.ones(1), 5, 0)
    result = walk(pool, one, 7, settings(duplicate_threshold=0.98))
    assert result.rows.tolist() == [0, 4, 8]
    assert result.num_duplicates == 9
    assert result.ran_out is not None
    assert "3 of 7 rows, because the pool ran out after step 3, in round 1 of new anchors" in result.ran_out
    assert "9 are near-copies" in result.ran_out


def test_an_anchor_is_no_near_copy_of_a_row_that_another_component_took() -> None:
    pool = np.array([[1, 0.9], [0.9, 1], [0.5, 1]])
    near = core([[0.75, 0.66], [0.66, 0.75]], [0.5, 0.5])
    assert walk(pool, near, 2, settings(duplicate_threshold=0.98)).rows.tolist() == [0, 2]
    assert walk(pool, near, 2, settings()).rows.tolist() == [0, 1]


def test_conflicts_with_rows_of_other_components_count_only_if_asked_for() -> None:
    pool = np.array([[1.0, 0.0], [-0.1, 1.0], [0.1, 0.9]])
    assert walk(pool, AXES, 2, settings()).rows.tolist() == [0, 1]
    assert walk(pool, AXES, 2, settings(cross_component_conflicts=True)).rows.tolist() == [0, 2]


def test_shared_conflicts_begin_again_with_new_anchors() -> None:
    pool = np.array([[1.0, 0.0], [-0.1, 1.0], [-0.2, 1.0]])
    short = walk(pool, AXES, 3, settings(cross_component_conflicts=True, exact_budget=False))
    assert short.rows.tolist() == [0]
    full = walk(pool, AXES, 3, settings(cross_component_conflicts=True))
    assert full.rows.tolist() == [0, 1, 2]
    assert roles(full) == ["anchor", "refill", "refill"]


def test_targets_are_walked_in_their_order_with_equal_shares() -> None:
    pool = np.array([[1, 0.1 * i] for i in range(4)] + [[0.1 * i, 1] for i in range(4)])
    result = walk(pool, {"maths": core([Y], [1.0]), "law": core([X], [1.0])}, 5, settings())
    assert [step.target for step in result.steps] == ["maths"] * 3 + ["law"] * 2
    assert result.rows.tolist() == [4, 5, 6, 0, 1]
    assert [(report.target, report.budget) for report in result.components] == [("maths", 3), ("law", 2)]


def test_a_row_taken_for_one_target_is_not_taken_for_the_next() -> None:
    pool = np.array([[1, 0.1 * i] for i in range(6)])
    result = walk(pool, {"a": core([X], [1.0]), "b": core([X], [1.0])}, 6, settings())
    assert sorted(result.rows.tolist()) == list(range(6))


def test_targets_may_have_budgets_of_their_own() -> None:
    pool = np.array([[1, 0.1 * i] for i in range(4)] + [[0.1 * i, 1] for i in range(4)])
    shares = [TargetShare("a", core([X], [1.0]), 1), TargetShare("b", core([Y], [1.0]), 3)]
    result = walk_targets(pool, shares, settings())
    assert [step.target for step in result.steps] == ["a", "b", "b", "b"]


def test_zero_rows_are_nodes_under_official_only_and_can_be_refused_there_too() -> None:
    pool = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, 0.1]])
    one = core([X], [1.0])
    ours = walk(pool, one, 3, settings())
    assert ours.rows.tolist() == [0, 2]
    assert ours.num_zero_rows == 1
    assert "1 are zero" in (ours.ran_out or "")
    official = SelectionConfig(method="official")
    assert walk(pool, one, 3, official).rows.tolist() == [0, 2, 1]
    assert walk(pool, one, 3, SelectionConfig(method="official", keep_zero_rows=False)).rows.tolist() == [0, 2]


def test_zero_rows_that_are_kept_are_not_why_a_pool_ran_out() -> None:
    pool = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, 0.1], [0.4, 0.1]])
    official = SelectionConfig(method="official", exact_budget=True)
    limits = Limits(quotas=[Quota("web", np.array([False, False, True, True]), 1)])
    found = walk(pool, core([X], [1.0]), 4, official, limits=limits)
    assert sorted(found.rows.tolist()) == [0, 1, 2]
    assert "of its 4 rows 3 are taken" in str(found.ran_out)
    assert "zero" not in str(found.ran_out)


def test_the_report_counts_refusals_and_similarities_within_the_noise() -> None:
    # k = 2: noise is 2/√2 > 1, so every cosine is within it. One step is looked for among 8 rows, of which 6 conflict,
    # a second among 7, the last with one candidate less; then the trail is dry.
    result = walk(TWO_SIDES, core([[-1.0, 0.0]], [1.0]), 4, settings(exact_budget=False))
    assert result.noise == pytest.approx(2**0.5)
    assert result.noise_fraction == 1
    assert result.components[0].conflict_refused_fraction == pytest.approx((6 + 6 + 6) / (8 + 7 + 6))
    assert result.conflict_refused_fraction == result.components[0].conflict_refused_fraction


def test_the_noise_fraction_is_the_share_of_cosines_within_two_over_the_root_of_k() -> None:
    k = 400  # noise 0.1; of two rows taken the first is counted, since for the last one nothing is looked up any more
    pool = np.zeros((5, k))
    pool[0, 0] = 1
    for row, cosine in ((1, 0.2), (2, 0.09), (3, -0.09), (4, 0.11)):
        pool[row, 0], pool[row, row] = cosine, np.sqrt(1 - cosine**2)
    result = walk(pool, CoreKnowledge(np.eye(k)[:1], np.ones(1), np.ones(1), 5, 0), 2, settings())
    assert result.noise == pytest.approx(0.1)
    assert result.noise_fraction == 0.5


def test_progress_hears_of_every_row() -> None:
    heard: list[tuple[int, int]] = []
    walk(TWO_SIDES, SIDES, 8, settings(), progress=lambda *counts: heard.append(counts))
    assert heard == [(taken, 8) for taken in range(1, 9)]


def test_rows_read_once_serve_several_walks() -> None:
    rows = UnitRows(TWO_SIDES)
    assert walk(rows, SIDES, 8, settings()) == walk(rows, SIDES, 8, settings()) == walk(TWO_SIDES, SIDES, 8, settings())


@pytest.mark.parametrize("budget", [0, -1, 10])
def test_a_budget_the_pool_cannot_fill_is_refused(budget: int) -> None:
    with pytest.raises(SelectionError, match=r"expected 1 to 9 rows.*found"):
        walk(TWO_SIDES, SIDES, budget, settings())


def test_no_target_is_refused() -> None:
    with pytest.raises(SelectionError, match="at least one target"):
        walk(TWO_SIDES, {}, 1, settings())


def test_core_knowledge_of_another_k_is_refused_with_both() -> None:
    wide = CoreKnowledge(np.eye(3)[:1], np.ones(1), np.ones(1), 5, 0)
    with pytest.raises(MatrixError, match=r"core knowledge of 'law': expected k = 2 .* found 3"):
        walk(TWO_SIDES, {"law": wide}, 2, settings())


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (np.zeros((4, 2), dtype=int), r"expected \(9, n\).*found shape \(4, 2\)"),
        (np.zeros((9, 2)), "integer row indices, found dtype float64"),
        (np.full((9, 2), 9), "found 9 in row 0, column 0"),
    ],
)
def test_a_graph_that_does_not_fit_the_pool_is_refused(graph: np.ndarray, problem: str) -> None:
    with pytest.raises(MatrixError, match=problem):
        walk(TWO_SIDES, SIDES, 2, settings(), graph=graph)


def test_a_pool_with_nan_is_refused() -> None:
    pool = TWO_SIDES.copy()
    pool[4, 1] = np.nan
    with pytest.raises(MatrixError, match=r"NaN or Inf in 1 of 9 rows, first in row\(s\) \[4\]"):
        walk(pool, SIDES, 2, settings())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_tensors_are_walked_in_any_float_dtype(dtype: torch.dtype) -> None:
    pool = torch.tensor([[1, 0.25], [0.25, 1], [1, 0.5], [0.5, 1]], dtype=dtype)
    assert walk(pool, AXES, 4, settings()).rows.tolist() == [0, 2, 1, 3]


# Six rows along x: each next one a little further from the last, so that a walk takes them in order.
FAN = np.array([[1, 0.05 * i] for i in range(6)])
ALONG_X = core([X], [1.0])


def within(budget: int, lengths: list[int], knowledge: CoreKnowledge = ALONG_X, **changes: Any) -> Walk:
    return walk(FAN, knowledge, budget, settings(**changes), limits=Limits(np.array(lengths)))


def test_a_budget_of_tokens_is_the_longest_prefix_of_the_walk_that_stays_within() -> None:
    lengths = [10, 20, 30, 5, 5, 5]
    result = within(59, lengths)
    assert result.rows.tolist() == [0, 1]  # row 2 does not fit, and no shorter one is looked for in its place
    assert (result.unit, result.budget, result.spent, result.ran_out) == ("tokens", 59, 30, None)
    assert within(60, lengths).rows.tolist() == [0, 1, 2]
    assert within(75, lengths).rows.tolist() == list(range(6))


def test_what_a_component_cannot_spend_goes_to_the_next() -> None:
    pool = np.array([[1, 0.1], [1, 0.2], [0.1, 1], [0.2, 1]])
    lengths = Limits(np.array([30, 30, 30, 40]))
    result = walk(pool, AXES, 100, settings(exact_budget=False), limits=lengths)
    # 50 each: component 0 takes 30 and leaves 20, so that component 1 has 70
    assert result.rows.tolist() == [0, 2, 3]
    assert [(report.budget, report.spent) for report in result.components] == [(50, 30), (50, 70)]
    assert result.ran_out is None


def test_what_no_share_is_enough_for_is_dealt_as_a_whole() -> None:
    pool = np.array([[1, 0.1], [1, 0.2], [0.1, 1], [0.2, 1]])
    lengths = Limits(np.array([10, 40, 10, 90]))
    result = walk(pool, AXES, 60, settings(), limits=lengths)
    # after 10 and 10, 40 are left: 20 for each, enough for neither; component 0's next row takes all 40
    assert result.rows.tolist() == [0, 2, 1]
    assert roles(result) == ["anchor", "anchor", "refill"]
    assert result.spent == 60


def test_what_a_target_cannot_spend_goes_to_the_next_target() -> None:
    pool = np.array([[1, 0.1], [1, 0.2], [0.1, 1], [0.2, 1]])
    lengths = Limits(np.array([30, 30, 30, 40]))
    result = walk(pool, {"a": core([X], [1.0]), "b": core([Y], [1.0])}, 100, settings(), limits=lengths)
    assert [(step.target, step.row) for step in result.steps] == [("a", 0), ("b", 2), ("b", 3)]


def test_a_row_longer_than_the_budget_ends_the_walk_before_it_begins() -> None:
    result = within(9, [10, 1, 1, 1, 1, 1])
    assert (result.rows.tolist(), result.ran_out) == ([], None)


def test_included_rows_come_first_are_paid_for_and_bind_nothing_but_their_copies() -> None:
    pool = np.array([[-1, 0.0], [1, 0.0], [1, 0.001], [1, 0.5], [1, 0.9]])
    limits = Limits(included=[0, 2])
    result = walk(pool, ALONG_X, 4, settings(duplicate_threshold=0.999), limits=limits)
    assert result.rows.tolist() == [0, 2, 3, 4]  # row 0 conflicts with 3 and 4, row 1 is a copy of row 2
    assert roles(result) == ["included", "included", "anchor", "step"]
    assert (result.steps[0].target, result.steps[0].component, result.steps[0].trail) == (None, None, None)
    assert (result.num_included, result.num_duplicates, result.spent, result.budget) == (2, 1, 4, 4)


def test_included_rows_may_be_all_there_is() -> None:
    result = walk(FAN, ALONG_X, 2, settings(), limits=Limits(included=[4, 1]))
    assert result.rows.tolist() == [4, 1]
    with pytest.raises(SelectionError, match="at least what the included rows cost, found 1, 1 less"):
        walk(FAN, ALONG_X, 1, settings(), limits=Limits(included=[4, 1]))


def test_a_full_quota_closes_its_source() -> None:
    web = np.array([True, True, True, False, False, True])
    result = walk(FAN, ALONG_X, 4, settings(), limits=Limits(quotas=[Quota("web", web, 2)]))
    assert result.rows.tolist() == [0, 1, 3, 4]
    assert result.full_quotas == ("web",)


def test_a_quota_of_tokens_is_full_when_the_next_row_does_not_fit_it() -> None:
    web = np.array([True, True, False, False, False, True])
    limits = Limits(np.array([10, 20, 10, 10, 10, 1]), quotas=[Quota("web", web, 29, "tokens")])
    assert walk(FAN, ALONG_X, 40, settings(), limits=limits).rows.tolist() == [0, 2, 3, 4]


def test_included_rows_count_for_their_quota_and_may_not_exceed_it() -> None:
    web = np.array([True, True, False, False, False, True])
    assert walk(FAN, ALONG_X, 3, settings(), limits=Limits(None, [5], [Quota("web", web, 1)])).rows.tolist() == [
        5,
        2,
        3,
    ]
    with pytest.raises(
        SelectionError, match=r"quota of 'web': expected at most 1 rows, found 2 in the rows to include"
    ):
        walk(FAN, ALONG_X, 3, settings(), limits=Limits(None, [5, 0], [Quota("web", web, 1)]))


@pytest.mark.parametrize("exact", [True, False])
def test_a_shortfall_names_the_full_quotas(exact: bool) -> None:
    web = np.array([True] * 5 + [False])
    result = walk(FAN, ALONG_X, 5, settings(exact_budget=exact), limits=Limits(quotas=[Quota("web", web, 2)]))
    assert result.rows.tolist() == [0, 1, 5]
    assert "closed because their quotas are full: web (2 rows)" in (result.ran_out or "")


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (Limits(np.array([1, 2])), "expected 6 whole numbers from 1 on"),
        (Limits(np.array([1, 2, 3, 4, 5, 0])), "expected 6 whole numbers from 1 on"),
        (Limits(np.ones(6)), "dtype float64"),  # type: ignore[arg-type]
        (Limits(included=[6]), "different ones from 0 to 5"),
        (Limits(included=[1, 1]), "different ones from 0 to 5"),
        (Limits([1] * 6), "found a list"),  # type: ignore[arg-type]
        (Limits(included=[1.5]), "expected numbers of rows, found shape .1,., dtype float64"),  # type: ignore[list-item]
        (Limits(quotas=[Quota("web", np.ones(6, bool), 3, "tokens")]), "expected one of rows, as the budget"),
        (Limits(quotas=[Quota("web", np.ones(5, bool), 3)]), "'web': expected 6 booleans, .* found shape .5,."),
        (Limits(quotas=[Quota("web", np.arange(6), 3)]), "'web': expected 6 booleans, .* dtype int64"),  # type: ignore[arg-type]
    ],
)
def test_limits_that_do_not_fit_the_pool_are_refused(limits: Limits, problem: str) -> None:
    with pytest.raises(SelectionError, match=problem):
        walk(FAN, ALONG_X, 3, settings(), limits=limits)


def test_what_is_no_array_and_no_number_is_refused_by_name() -> None:
    with pytest.raises(MatrixError, match=r"pool gradients: expected a numpy array or a torch tensor, found a list"):
        walk(FAN.tolist(), ALONG_X, 3, settings())
    for budget in ("3", 3.0):
        with pytest.raises(SelectionError, match=f"expected a whole number of rows or tokens, found {budget!r}"):
            walk(FAN, ALONG_X, budget, settings())  # type: ignore[arg-type]


def test_a_budget_of_more_tokens_than_there_are_is_refused() -> None:
    with pytest.raises(SelectionError, match="expected 1 to 60 tokens, the size of the pool, found 61"):
        within(61, [10] * 6)
