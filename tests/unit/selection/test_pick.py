"""Selectors other than the walk, against plain loops, and what binds them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.methods import selector_kind
from g2is.selection.apply import apply_selector
from g2is.selection.core import core_knowledge
from g2is.selection.limits import Limits, Quota
from g2is.selection.pick import all_open, pick
from g2is.selection.problem import Choice, Problem, Select, TargetRows
from g2is.selection.record import Picks
from g2is.selection.scores import scores
from g2is.selection.selectors import round_robin
from g2is.selection.similarity import UnitRows

K = 24
PLAIN = {"duplicate_threshold": None}


def rows_of(seed: int, num_rows: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_rows, K)).astype(np.float16)


def problem(
    pool: np.ndarray, targets: np.ndarray, budget: int, groups: tuple[str | None, ...] = (), **of: object
) -> Problem:
    settings = SelectionConfig(**{**PLAIN, **of})
    costs, rows = np.ones(len(pool), np.int64), UnitRows(pool)
    return Problem("t", budget, costs, all_open(len(pool)), settings, rows, targets, None, groups)


def built_in(name: str) -> Select:
    select = selector_kind(name).select
    assert select is not None
    return select


def run(found: Problem, name: str | Select, limits: Limits | None = None) -> Picks:
    return pick([found], built_in(name) if isinstance(name, str) else name, limits or Limits())


def cosines(pool: np.ndarray, targets: np.ndarray) -> np.ndarray:
    unit = [
        rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        for rows in (pool, targets)
    ]
    return unit[0] @ unit[1].T


@pytest.mark.parametrize("seed", range(5))
def test_top_takes_the_rows_of_highest_mean_cosine(seed: int) -> None:
    pool, targets = rows_of(seed), rows_of(seed + 100, 7)
    found = run(problem(pool, targets, 9, selector="top"), "top")
    expected = np.argsort(-cosines(pool, targets).mean(1))[:9]
    assert found.rows.tolist() == expected.tolist()
    np.testing.assert_allclose(
        [step.score for step in found.steps], cosines(pool, targets).mean(1)[expected], atol=1e-9
    )


def test_top_takes_the_best_group_s_mean() -> None:
    pool, targets = rows_of(1), rows_of(2, 6)
    groups = ("a", "b", "a", None, "b", "b")
    by_hand = np.stack([cosines(pool, targets)[:, rows].mean(1) for rows in ([0, 2], [1, 4, 5], [3])]).max(0)
    found = run(problem(pool, targets, 10, groups, selector="top"), "top")
    assert found.rows.tolist() == np.argsort(-by_hand)[:10].tolist()


def test_top_by_core_score_is_the_order_of_the_scores() -> None:
    pool, targets = rows_of(3), rows_of(4, 8)
    found = run(problem(pool, targets, 12, selector="top", score="core"), "top")
    of_core = scores(pool, core_knowledge(targets, SelectionConfig())).core_score
    assert found.rows.tolist() == np.argsort(-of_core, kind="stable")[:12].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_round_robin_equals_a_plain_loop(seed: int) -> None:
    pool, targets = rows_of(seed), rows_of(seed + 50, 5)
    similarity = cosines(pool, targets)
    expected: list[int] = []
    while len(expected) < 23:
        column = similarity[:, len(expected) % 5].copy()
        column[expected] = -np.inf
        expected.append(int(column.argmax()))
    assert run(problem(pool, targets, 23, selector="round-robin"), "round-robin").rows.tolist() == expected


@pytest.mark.parametrize("first", [1, 3, 1024])
@pytest.mark.parametrize("take_opposed", [False, True])
def test_rows_that_are_sorted_part_by_part_come_in_the_order_of_all(
    first: int, take_opposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_robin, "_SORTED_AT_FIRST", first)
    given = np.random.default_rng(first).integers(-2, 3, (40, 3)).astype(np.float32)  # many are alike
    settings = SelectionConfig(method="less-rr", representation="lexical", take_opposed=take_opposed)
    found = run(Problem("t", 40, np.ones(40, np.int64), all_open(40), settings, given=given), "round-robin")
    lists = [[row for row in np.argsort(-of, kind="stable") if take_opposed or of[row] >= 0] for of in given.T]
    expected: list[int] = []
    while any(lists):
        for of in lists:
            while of and (row := int(of.pop(0))) in expected:
                pass
            if row not in expected:
                expected.append(row)
    assert found.rows.tolist() == expected


def released(similarity: np.ndarray, num_rows: int) -> list[int]:
    """RDS+ as it was released, in our words: an example strikes its best row off in every round, taken or not."""
    lists = [sorted(range(len(similarity)), key=lambda row: -similarity[row, target]) for target in range(5)]
    taken: list[int] = []
    while len(taken) < num_rows and any(lists):
        for ranked in lists:
            if ranked and len(taken) < num_rows and (row := ranked.pop(0)) not in taken:
                taken.append(row)
    return taken


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_rows", [1, 23, 60])
def test_rds_plus_lets_an_example_lose_its_turn_as_released(seed: int, num_rows: int) -> None:
    pool = rows_of(seed)
    targets = rows_of(seed + 50, 1) + 0.5 * rows_of(seed + 70, 5)  # alike, so that they want the same rows
    of: dict[str, Any] = {"method": "rds+", "representation": "gradient", "take_opposed": True}
    found = run(problem(pool, targets, num_rows, **of), "round-robin").rows.tolist()
    assert found == released(cosines(pool, targets), num_rows)
    goes_on = run(problem(pool, targets, num_rows, **of, if_taken="next-row"), "round-robin").rows.tolist()
    by_less = problem(pool, targets, num_rows, method="less-rr", take_opposed=True)
    assert goes_on == run(by_less, "round-robin").rows.tolist()
    assert num_rows != 23 or goes_on != found
    assert num_rows != 60 or sorted(found) == list(range(60))  # it ends only when no row is left


def test_a_row_closed_by_a_quota_costs_no_turn() -> None:
    pool, targets = rows_of(3), rows_of(4, 5)
    similarity = cosines(pool, targets)
    closed = np.zeros(60, bool)
    closed[similarity.argmax(axis=0)] = True  # the row that each example would take first
    limits = Limits(quotas=[Quota("web", closed, 0)])
    found = run(problem(pool, targets, 5, selector="round-robin", if_taken="lose-turn"), "round-robin", limits)
    assert found.rows[0] == np.where(closed, -np.inf, similarity[:, 0]).argmax()
    similarity[closed] = -2.0
    assert found.rows.tolist() == released(similarity, 5)


def test_equal_rows_tie_to_the_lowest() -> None:
    pool = np.repeat(rows_of(5, 10), 3, axis=0)
    for name in ("top", "round-robin"):
        taken = run(problem(pool, rows_of(6, 4), 30, selector=name), name).rows
        first: dict[int, list[int]] = {}
        for row in taken.tolist():
            first.setdefault(row // 3, []).append(row)
        assert all(found == sorted(found) for found in first.values()), name


def test_near_copies_of_a_taken_row_are_skipped_if_asked_for() -> None:
    pool = np.repeat(rows_of(5, 10), 3, axis=0)
    found = run(problem(pool, rows_of(6, 4), 10, selector="top", duplicate_threshold=0.98), "top")
    assert sorted(found.rows // 3) == list(range(10))
    assert found.num_duplicates == 18  # two of each row, but for the last, whose copies nobody asks for any more


def test_near_copies_are_named_where_a_budget_is_not_spent() -> None:
    pool = np.repeat(rows_of(5, 10), 3, axis=0)
    found = run(problem(pool, rows_of(6, 4), 12, selector="top", duplicate_threshold=0.98, take_opposed=True), "top")
    assert "10 of 12 rows, because the selector top found no further row: 20 are near-copies of rows" in str(
        found.ran_out
    )


@pytest.mark.parametrize("selector", ["random", "all"])
def test_a_selector_that_looks_at_nothing_skips_no_near_copies(selector: str) -> None:
    pool = np.repeat(rows_of(5, 10), 3, axis=0)
    found = run(problem(pool, rows_of(6, 4), 30, selector=selector, duplicate_threshold=0.98), selector)
    assert sorted(found.rows.tolist()) == list(range(30))
    assert found.num_duplicates == 0


def test_random_is_a_seeded_draw_and_all_takes_every_row() -> None:
    of: dict[str, Any] = {"representation": "none"}
    draws = [
        run(problem(rows_of(1), rows_of(2, 3), 20, selector="random", seed=seed, **of), "random").rows
        for seed in (0, 0, 1)
    ]
    assert draws[0].tolist() == draws[1].tolist() != draws[2].tolist()
    assert len(set(draws[0].tolist())) == 20
    assert run(problem(rows_of(1), rows_of(2, 3), 60, selector="all", **of), "all").rows.tolist() == list(range(60))


def test_a_random_draw_of_examples_is_of_their_content_and_not_of_their_order() -> None:
    keys = np.random.default_rng(0).integers(0, 256, (60, 16), dtype=np.uint8)
    order = np.random.default_rng(1).permutation(60)
    settings = SelectionConfig(method="random")
    here, there = (
        run(Problem("t", 20, np.ones(60, np.int64), all_open(60), settings, keys=of), "random").rows
        for of in (keys, keys[order])
    )
    assert here.tolist() == order[there].tolist()


def test_scores_that_are_given_need_no_vectors_but_vectors_cannot_be_had_from_them() -> None:
    given = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    settings = SelectionConfig(method="bm25")
    found = Problem("t", 4, np.ones(20, np.int64), all_open(20), settings, given=given)
    assert run(found, "top").rows.tolist() == np.argsort(-given.astype(float).mean(1), kind="stable")[:4].tolist()
    with pytest.raises(SelectionError, match="expected a representation that has vectors, found lexical"):
        found.vectors()


def test_targets_share_the_pool_and_what_one_cannot_spend_goes_to_the_next() -> None:
    pool, costs = rows_of(7, 12), np.full(12, 5)
    open_rows, settings, rows = all_open(12), SelectionConfig(method="less"), UnitRows(pool)
    problems = [
        Problem(name, 13, costs, open_rows, settings, rows, rows_of(seed, 3)) for name, seed in (("a", 1), ("b", 2))
    ]
    found = pick(problems, built_in("top"), Limits(num_tokens=costs))
    assert [step.target for step in found.steps] == ["a", "a", "b", "b", "b"]
    assert (found.spent, found.budget, found.ran_out) == (25, 26, None)
    assert len(set(found.rows.tolist())) == 5


def test_quotas_and_included_rows_bind_every_selector() -> None:
    pool, web = rows_of(8), np.arange(60) < 50
    limits = Limits(included=(3, 59), quotas=[Quota("web", web, 6)])
    for name in ("top", "round-robin", "random"):
        found = run(problem(pool, rows_of(9, 4), 12, selector=name), name, limits)
        assert found.rows[:2].tolist() == [3, 59]
        assert (len(found.steps), int(web[found.rows].sum()), found.full_quotas) == (14, 6, ("web",))
        assert [step.role for step in found.steps] == ["included"] * 2 + ["picked"] * 12


def test_what_a_selector_that_runs_dry_leaves_goes_to_the_next_target() -> None:
    def first_three_then_any(problem: Problem) -> Iterator[Choice]:
        yield from (Choice(row) for row in range(3 if problem.target == "a" else 40))

    rows, open_rows = UnitRows(rows_of(1)), all_open(60)
    settings = SelectionConfig(method="less")
    problems = [Problem(name, 10, np.ones(60, int), open_rows, settings, rows, rows_of(2, 3)) for name in ("a", "b")]
    found = pick(problems, first_three_then_any, Limits())
    assert [step.target for step in found.steps] == ["a"] * 3 + ["b"] * 17
    assert [problem.budget for problem in problems] == [10, 17]  # what the selector of the second is asked for
    assert problems[1].share == 17 / 60
    assert found.spent == found.budget == 20
    assert found.ran_out is None  # the whole budget is spent
    (told,) = found.handed_on
    assert told.startswith("target 'a': 3 of 10 rows, because the selector top found no further row")
    assert "went to the next target" in told


def test_a_selection_ran_out_only_for_what_no_later_target_spent() -> None:
    def a_few_then_any(problem: Problem) -> Iterator[Choice]:
        yield from (Choice(row) for row in range({"a": 3, "b": 40, "c": 22}[problem.target]))

    rows, open_rows = UnitRows(rows_of(1)), all_open(60)
    settings = SelectionConfig(method="less")
    problems = [Problem(name, 10, np.ones(60, int), open_rows, settings, rows, rows_of(2, 3)) for name in "abc"]
    found = pick(problems, a_few_then_any, Limits())
    assert [sum(step.target == name for step in found.steps) for name in "abc"] == [3, 17, 2]
    assert str(found.ran_out).startswith("target 'c': 2 of 10 rows")
    assert "'a'" not in str(found.ran_out)
    assert [told[:11] for told in found.handed_on] == ["target 'a':"]


def test_targets_that_run_out_one_after_the_other_are_all_named() -> None:
    def three(of: Problem) -> Iterator[Choice]:
        yield from (Choice(row) for row in range(3) if of.open[row])

    rows, open_rows = UnitRows(rows_of(1)), all_open(60)
    settings = SelectionConfig(method="less")
    problems = [Problem(name, 10, np.ones(60, int), open_rows, settings, rows, rows_of(2, 3)) for name in "ab"]
    found = pick(problems, three, Limits())
    assert "target 'a': 3 of 10 rows" in str(found.ran_out)
    assert "target 'b': 0 of 17 rows" in str(found.ran_out)
    assert found.handed_on == ()


def test_rows_that_a_selector_leaves_by_a_rule_of_its_own_are_not_said_to_oppose_the_target() -> None:
    pool, target = rows_of(1), rows_of(2, 1)
    opposed = int((UnitRows(pool).cosines_with(target) < 0).all(axis=1).sum())

    def three(of: Problem) -> Iterator[Choice]:
        yield from map(Choice, np.flatnonzero(~of.opposed)[:3].tolist())

    found = pick([problem(pool, target, 9, selector="top")], three, Limits())
    assert f"{opposed} that are left oppose every example of it" in str(found.ran_out)
    assert f"the others ({60 - 3 - opposed}) it passes over by its own rule" in str(found.ran_out)


def test_a_pool_that_runs_out_says_so() -> None:
    limits = Limits(quotas=[Quota("web", np.ones(60, bool), 5)])
    found = run(problem(rows_of(1), rows_of(2, 3), 9, selector="top"), "top", limits)
    assert "target 't': 5 of 9 rows, because the selector top found no further row" in str(found.ran_out)
    assert "web (5 rows)" in str(found.ran_out)


def test_a_selector_of_one_s_own_sees_what_is_open_and_may_not_name_other_rows() -> None:
    def evens_then_beyond(of: Problem):  # type: ignore[no-untyped-def]
        for row in range(0, len(of.open), 2):
            assert of.open[row]
            yield Choice(row)
            assert not of.open[row]
        yield Choice(len(of.open))

    found = run(problem(rows_of(1), rows_of(2, 3), 5, selector="own:evens"), evens_then_beyond)
    assert found.rows.tolist() == [0, 2, 4, 6, 8]
    with pytest.raises(SelectionError, match="expected rows from 0 to 59, found 60"):
        run(problem(rows_of(1), rows_of(2, 3), 40, selector="own:evens"), evens_then_beyond)


OWN: Any = Choice  # of the user's own code, which nobody checks


@pytest.mark.parametrize(
    "named",
    [[3, 1], [np.int64(3), (1,)], [(3, None), [1, 0.5]], [OWN(3), OWN(np.int32(1), np.float32(2))]],
)
def test_a_selector_of_one_s_own_may_name_rows_in_few_words(named: Any) -> None:
    found = run(problem(rows_of(1), rows_of(2, 3), 2, selector="own:short"), lambda _: named)
    assert found.rows.tolist() == [3, 1]


@pytest.mark.parametrize(
    "named",
    [
        None,
        3,
        {3: 0.5},
        {3, 1},
        [2.5],
        [True],
        [OWN(2.0)],
        [OWN(np.bool_(True))],
        [OWN(5, "a")],
        [()],
        ["ab"],
        [(1, 2, "t", 4)],
    ],
)
def test_what_names_no_row_is_one_message(named: Any) -> None:
    with pytest.raises(SelectionError, match=r"selector own:odd: expected it to name rows as g2is\.Choice"):
        run(problem(rows_of(1), rows_of(2, 3), 2, selector="own:odd"), lambda _: named)


@pytest.mark.parametrize("seed", range(8))
def test_match_equals_a_plain_float64_loop(seed: int) -> None:
    pool, targets = rows_of(seed, 120), rows_of(seed + 70, 6)
    units = pool.astype(np.float64) / np.linalg.norm(pool.astype(np.float64), axis=1, keepdims=True)
    target = (targets.astype(np.float64) / np.linalg.norm(targets.astype(np.float64), axis=1, keepdims=True)).mean(0)
    expected: list[int] = []
    for _ in range(40):
        sums = units[expected].sum(0) + units
        values = sums @ target / np.linalg.norm(sums, axis=1)
        values[expected] = -np.inf
        values[(cosines(pool, targets) < 0).all(1)] = -np.inf
        expected.append(int(values.argmax()))
    found = run(problem(pool, targets, 40, selector="match"), "match")
    assert found.rows.tolist() == expected
    reached = units[expected].sum(0)
    reached_cosine = reached @ target / np.linalg.norm(reached) / np.linalg.norm(target)
    assert found.steps[-1].score == pytest.approx(reached_cosine, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_design_equals_plain_conditioning_of_a_gaussian(seed: int, noise: float) -> None:
    pool, targets, budget = rows_of(seed, 150), rows_of(seed + 70, 6), 80
    pool[110:] = pool[:40] * np.float16(1.1)  # copies, which are skipped
    units, of_target = (
        rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        for rows in (pool, targets)
    )
    expected: list[int] = []
    for _ in range(budget):
        taken = units[expected]
        inverse = np.linalg.inv(taken @ taken.T + noise * np.eye(len(taken))) if expected else np.empty((0, 0))
        covariances = of_target @ units.T - of_target @ taken.T @ inverse @ taken @ units.T
        variances = 1 - np.einsum("nk,nk->n", units @ taken.T @ inverse, units @ taken.T)
        worth = (np.maximum(covariances, 0) ** 2).sum(0) / (variances + noise)
        worth[(units @ taken.T > 0.98).any(1) | (units @ of_target.T < 0).all(1)] = -np.inf
        # of a row and its copy, equal but for rounding, the lower one
        expected.append(int(np.argmax(worth >= worth.max() - 1e-9)))
    asked = problem(pool, targets, budget, selector="design", noise=noise, duplicate_threshold=0.98)
    found = run(asked, "design")
    assert found.rows.tolist() == expected
    assert found.steps[-1].score == pytest.approx(worth.max(), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_design_of_far_more_rows_than_they_have_coordinates_equals_plain_conditioning(seed: int) -> None:
    pool, targets, budget = rows_of(seed, 1500), rows_of(seed + 70, 6), 700  # sums are added up again and again
    pool = pool + 0.7 * targets[np.arange(1500) % 6]  # so that as many agree
    units, of_target = (
        rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        for rows in (pool, targets)
    )
    posterior, expected = np.eye(pool.shape[1]), list[int]()
    while len(expected) < budget:
        covariances, variances = units @ posterior @ of_target.T, np.sum(units @ posterior * units, axis=1)
        worth = (np.maximum(covariances, 0) ** 2).sum(1) / (variances + 1)
        worth[expected] = worth[(units @ of_target.T < 0).all(1)] = -np.inf
        expected.append(int(worth.argmax()))
        said = posterior @ units[expected[-1]]
        posterior -= np.outer(said, said) / (units[expected[-1]] @ said + 1)
    found = run(problem(pool, targets, budget, selector="design"), "design")
    assert found.rows.tolist() == expected
    assert found.steps[-1].score == pytest.approx(worth.max(), rel=1e-9)


@pytest.mark.parametrize("unit", ["rows", "tokens", "candidates"])
def test_design_s_noise_in_proportion_is_the_budget_in_percent_of_the_whole_pool(unit: str) -> None:
    pool, targets = rows_of(5, 200), {"a": rows_of(6, 5), "b": rows_of(7, 4)}
    tokens = np.random.default_rng(8).integers(1, 9, 200)
    limits = Limits(tokens) if unit == "tokens" else Limits()
    places = np.arange(0, 200, 2) if unit == "candidates" else None
    whole, rows = int(limits.costs(200).sum()), UnitRows(pool if places is None else pool[places])
    budgets = {"a": 30, "b": 12}

    def taken(noise: object, name: str) -> tuple[list[int], list[float]]:
        settings = SelectionConfig(noise=noise, duplicate_threshold=None)
        of_target = {name: TargetRows(budgets[name], rows=targets[name])}
        found = apply_selector(200, rows, of_target, settings, limits, places=places).record
        return found.rows.tolist(), [step.score for step in found.steps]

    for name, budget in budgets.items():
        assert taken("proportional", name) == taken(100 * (budget / whole), name)
        assert taken("proportional", name) != taken(1.0, name)


def test_design_does_not_count_rows_that_a_quota_refused() -> None:
    pool, targets, web = rows_of(3, 60), rows_of(4, 5), np.arange(60) % 2 == 0
    found = run(problem(pool, targets, 20, selector="design"), "design", Limits(quotas=[Quota("web", web, 4)]))
    allowed = found.rows[~web[found.rows]].tolist()
    of_both = problem(np.delete(pool, np.setdiff1d(np.flatnonzero(web), found.rows), 0), targets, 20, selector="design")
    assert len(allowed) == 16
    assert found.steps[-1].score == pytest.approx(run(of_both, "design").steps[-1].score)


def test_design_covers_what_no_taken_row_speaks_of() -> None:
    draw = np.random.default_rng(0)
    targets = draw.normal(size=(2, K)).astype(np.float16)
    of_second = targets[1] + draw.normal(size=K) * 0.8  # not as near to its example as the others to theirs
    pool = np.stack([targets[0], targets[0], of_second, -targets[0]]).astype(np.float16)
    asked = problem(pool, targets, 3, selector="design", noise=0.5)
    assert run(asked, "design").rows.tolist() == [0, 2, 1]


def test_design_ends_when_every_row_left_conflicts_with_every_example() -> None:
    pool = np.array([[-1.0, 0.1], [1.0, 0.2], [-1.0, 0.3], [0.5, 1.0]], np.float32)
    found = run(problem(pool, np.array([[1.0, 0.0]], np.float32), 4, selector="design"), "design")
    assert found.rows.tolist() == [1, 3]
    assert "found no further row" in str(found.ran_out)


@pytest.mark.parametrize("seed", range(8))
def test_design_ends_when_all_is_said_however_the_space_is_turned(seed: int) -> None:
    """Three rows along the only example, nine orthogonal to it: rounding leaves them covariances of some 1e-17."""
    rows = np.concatenate([np.repeat(np.eye(1, K), 3, axis=0), np.eye(K)[1:10]])
    turned = np.linalg.qr(np.random.default_rng(seed).normal(size=(K, K)))[0]
    found = run(problem(rows @ turned, turned[:1], 12, selector="design"), "design")
    assert found.rows.tolist() == [0, 1, 2]


def test_match_does_not_count_rows_that_a_quota_refused() -> None:
    pool, targets, web = rows_of(3, 60), rows_of(4, 5), np.arange(60) % 2 == 0
    found = run(problem(pool, targets, 20, selector="match"), "match", Limits(quotas=[Quota("web", web, 4)]))
    taken = pool[found.rows].astype(np.float64)
    total = (taken / np.linalg.norm(taken, axis=1, keepdims=True)).sum(0)
    target = (targets.astype(np.float64) / np.linalg.norm(targets.astype(np.float64), axis=1, keepdims=True)).mean(0)
    assert found.steps[-1].score == pytest.approx(total @ target / np.linalg.norm(total) / np.linalg.norm(target))


def test_match_refuses_targets_that_cancel() -> None:
    targets = np.array([[1.0] * K, [-1.0] * K], np.float16)
    with pytest.raises(SelectionError, match="expected target rows with a mean direction, found 2 that cancel"):
        run(problem(rows_of(1), targets, 4, selector="match"), "match")


def test_of_several_targets_the_one_that_cannot_be_served_is_named() -> None:
    cancel = np.array([[1.0] * K, [-1.0] * K], np.float16)
    asked = [
        replace(problem(rows_of(1), rows, 4, selector="match"), target=name)
        for name, rows in (("math", rows_of(2, 3)), ("med", cancel))
    ]
    with pytest.raises(
        SelectionError, match="target 'med': selector match: expected target rows with a mean direction"
    ):
        pick(asked, built_in("match"), Limits())
