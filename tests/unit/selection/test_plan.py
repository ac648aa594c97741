"""What settings mean for the pool at hand."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.examples.dataset import Examples
from g2is.examples.filter import filter_pool, read_lists
from g2is.examples.table import ExampleTable
from g2is.jobs.read_data import plan_for
from g2is.selection.budget import Budget
from g2is.selection.pick import pick
from g2is.selection.plan import Plan
from g2is.selection.problem import Choice, Problem

Read = Callable[..., ExampleTable]


@pytest.fixture
def plan(read_table: Read, tmp_path: Path) -> Callable[..., Plan]:
    """A plan for ten rows, ids a to j, a to d from "web", e to i from "code", j without a source; targets x and y."""
    sources = (*["web"] * 4, *["code"] * 5, None)
    pool = read_table(*((f"question {n}", "1 " * (1 + n)) for n in range(10)), sources=sources)
    of_targets = {name: read_table((name, name), name=f"{name}.jsonl") for name in ("x", "y")}

    def make(include: str = "", exclude: str = "", **settings: Any) -> Plan:
        for name, ids in (("include", include), ("exclude", exclude)):
            (tmp_path / name).write_text("\n".join(ids))
        included, excluded = (
            read_lists([tmp_path / name] if ids else []) for name, ids in (("include", include), ("exclude", exclude))
        )
        filtered = filter_pool(pool, included, excluded)
        examples = Examples(filtered, of_targets)
        return plan_for(SelectionConfig(**settings), examples)

    return make


def test_targets_share_equally_unless_told(plan: Callable[..., Plan]) -> None:
    assert plan(budget="5").target_budgets == {"x": 3, "y": 2}
    assert plan(budget="9", shares={"y": 2, "x": 1}).target_budgets == {"x": 3, "y": 6}


@pytest.mark.parametrize("budget", ["9", "60tok"])
def test_a_target_s_share_has_what_those_before_it_left(plan: Callable[..., Plan], budget: str) -> None:
    asked = plan(budget=budget, include="b", shares={"x": 1, "y": 2})
    settings = SelectionConfig(budget=budget)
    costs, open_rows = asked.limits.costs(10), np.ones(10, bool)
    problems = [Problem(name, of, costs, open_rows, settings) for name, of in asked.target_budgets.items()]

    def one_or_any(problem: Problem) -> Iterator[Choice]:
        yield from (Choice(row) for row in range(3 if problem.target == "x" else 10))

    steps = pick(problems, one_or_any, asked.limits).steps
    spent = {name: sum(int(costs[step.row]) for step in steps if step.target == name) for name in ("x", "y")}
    assert asked.shares(10, spent) == {problem.target: problem.share for problem in problems}
    assert asked.shares(10, spent)["y"] > asked.shares(10)["y"]


def test_included_rows_are_paid_for_before_targets_share(plan: Callable[..., Plan]) -> None:
    found = plan(budget="50%", include="ca")
    assert (found.budget, found.target_budgets) == (Budget(rows=5), {"x": 2, "y": 1})
    assert list(found.limits.included) == [2, 0]
    with pytest.raises(SelectionError, match=r"at least the 2 rows of the 2 rows to include, found 1 = 1 rows"):
        plan(budget="1", include="ca")


def test_a_share_is_one_of_all_rows_read(plan: Callable[..., Plan]) -> None:
    assert plan(budget="50%", exclude="abc").budget == Budget(rows=5)
    with pytest.raises(SelectionError, match="7 rows that are left of the 10 read"):
        plan(budget="80%", exclude="abc")


def test_a_budget_of_tokens_makes_them_the_costs(plan: Callable[..., Plan]) -> None:
    whole = plan(budget="100%")
    assert whole.limits.num_tokens is None
    found = plan(budget="0.1ktok", exclude="a")
    assert found.limits.num_tokens is not None
    assert (len(found.limits.num_tokens), found.limits.unit, sum(found.target_budgets.values())) == (9, "tokens", 100)


def test_quotas_are_of_the_rows_that_stay(plan: Callable[..., Plan]) -> None:
    quotas = plan(budget="4", exclude="ab", quotas={"web": "50%", "pool": 1}).limits.quotas
    assert [(quota.source, quota.most, quota.rows.nonzero()[0].tolist()) for quota in quotas] == [
        ("web", 2, [0, 1]),
        ("pool", 1, [7]),  # a row without a source has its file's
    ]


def test_a_source_that_the_pool_does_not_have_is_refused_with_the_nearest(plan: Callable[..., Plan]) -> None:
    with pytest.raises(SelectionError, match="quota of 'cod': no row of the pool has this source; did you mean 'code'"):
        plan(budget="4", quotas={"cod": "1"})
    with pytest.raises(SelectionError, match="the sources are code, pool, web"):
        plan(budget="4", quotas={"books": "1"})


def test_everything_that_changes_the_plan_changes_its_digest_parts(plan: Callable[..., Plan]) -> None:
    plans = [
        plan(budget="5"),
        plan(budget="6"),
        plan(budget="5", shares={"x": 3, "y": 2}),  # the same deal, so the same walk
        plan(budget="5", shares={"x": 4, "y": 1}),
        plan(budget="5", include="a"),
        plan(budget="5", include="ab"),
        plan(budget="5", include="ba"),
        plan(budget="5", quotas={"web": "2"}),
        plan(budget="5", quotas={"web": "3"}),
        plan(budget="5", quotas={"code": "2"}),
        plan(budget="100tok"),
    ]
    digests = [tuple(map(str, each.digest_parts)) for each in plans]
    assert digests[0] == digests[2]
    assert len(set(digests)) == len(plans) - 1
