"""Budgets of tokens, included rows and quotas: the walk is the plain one here too, and keeps within its limits."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from reference_walk import ReferenceWalk
from test_walk_equals_reference import Case, random_case, run_plain, taken

from g2is.selection.limits import Limits, Quota
from g2is.selection.record import Walk
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import TargetShare, walk_targets

NUM_CASES = 200
BATCH = 20
SLOW, LONG = ((pytest.mark.slow,), (pytest.mark.slow, pytest.mark.long))
BATCHES = [0, *(pytest.param(batch, marks=SLOW if batch < 4 else LONG) for batch in range(1, NUM_CASES // BATCH))]


@dataclass
class Limited:
    case: Case
    limits: Limits

    def __str__(self) -> str:
        quotas = [(np.flatnonzero(quota.rows).tolist(), quota.most, quota.unit) for quota in self.limits.quotas]
        return f"{self.case}, costs {self.limits.num_tokens}, included {self.limits.included}, quotas {quotas}"


def limited_case(seed: int) -> Limited:
    """A random case whose budget may be one of tokens, with rows to include and quotas of up to three sources."""
    case = random_case(seed)
    rng = np.random.default_rng([seed, 1])
    num_rows = len(case.pool)
    num_tokens = None
    if rng.random() < 0.7:
        most = rng.choice([2, 30, 200])  # from nearly equal rows to rows of which one may be a whole budget
        num_tokens = rng.integers(1, most + 1, size=num_rows).astype(np.int32)
        case.targets = [
            TargetShare(each.name, each.core, int(each.budget * num_tokens.mean())) for each in case.targets
        ]
    included = rng.choice(num_rows, size=min(num_rows // 3, int(rng.integers(0, 6))), replace=False).tolist()
    costs = Limits(num_tokens).costs(num_rows)
    room = int(costs.sum() - costs[included].sum())
    while sum(target.budget for target in case.targets) > room:
        case.targets = [TargetShare(each.name, each.core, each.budget // 2) for each in case.targets]
    quotas = []
    if rng.random() < 0.6:
        source_of = rng.integers(0, 4, size=num_rows)
        for source in rng.permutation(4)[: rng.integers(1, 4)].tolist():
            rows = source_of == source
            in_tokens = num_tokens is not None and rng.random() < 0.5
            amounts = costs if in_tokens else np.ones(num_rows, np.int64)
            ours = [row for row in included if rows[row]]
            most_of_it = int(amounts[ours].sum() + rng.choice([0.1, 0.3, 0.8]) * amounts[rows].sum())
            quotas.append(Quota(str(source), rows, max(1, most_of_it), "tokens" if in_tokens else "rows"))
    if sum(target.budget for target in case.targets) + costs[included].sum() < 1:
        case.targets = [TargetShare(each.name, each.core, 1) for each in case.targets[:1]]
        included, quotas = [], []
    return Limited(case, Limits(num_tokens, included, quotas))


def select(limited: Limited, **how: Any) -> Walk:
    case = limited.case
    return walk_targets(UnitRows(case.pool, **how), case.targets, case.settings, case.graph, limits=limited.limits)


@cache
def walked(seed: int) -> tuple[Limited, Walk]:
    """A case and what is selected of it, which nobody changes: several tests look at all of them."""
    limited = limited_case(seed)
    return limited, select(limited)


def reference(limited: Limited) -> ReferenceWalk:
    case, limits = limited.case, limited.limits
    plain = ReferenceWalk(
        case.values,
        case.settings,
        case.graph,
        costs=limits.costs(len(case.pool)).tolist(),
        included=limits.included,
        quotas=[
            (set(np.flatnonzero(quota.rows).tolist()), quota.most, quota.unit == "tokens") for quota in limits.quotas
        ],
    )
    run_plain(plain, case)
    return plain


@pytest.mark.parametrize("batch", BATCHES)
def test_rows_order_and_roles_are_those_of_the_plain_walk(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        (limited, result), plain = walked(seed), reference(walked(seed)[0])
        assert taken(result) == plain.selected, f"seed {seed}: {limited}"
        assert (result.ran_out is not None) == plain.ran_out, f"seed {seed}: {result.ran_out}"
        assert set(result.full_quotas) == {limited.limits.quotas[index].source for index in plain.full}
        assert select(limited, quantise=True).steps == result.steps, f"seed {seed}: {limited}"


@pytest.mark.slow
def test_no_budget_and_no_quota_is_ever_exceeded_and_included_rows_come_first() -> None:
    for seed in range(NUM_CASES):
        limited, result = walked(seed)
        limits = limited.limits
        costs = limits.costs(len(limited.case.pool))
        rows = result.rows
        assert len(set(rows.tolist())) == len(rows)
        assert result.spent == costs[rows].sum() <= result.budget, f"seed {seed}: {limited}"
        assert result.spent == sum(each.spent for each in result.components) + costs[list(limits.included)].sum()
        assert rows[: len(limits.included)].tolist() == list(limits.included)
        for quota in limits.quotas:
            amounts = costs if quota.unit == "tokens" else np.ones(len(costs), np.int64)
            assert amounts[rows[quota.rows[rows]]].sum() <= quota.most, f"seed {seed}: {limited}"


@pytest.mark.slow
def test_with_an_exact_budget_less_is_left_than_the_longest_row_takes_unless_the_pool_ran_out() -> None:
    for seed in range(NUM_CASES):
        limited, result = walked(seed)
        if limited.case.settings.exact_budget:
            longest = limited.limits.costs(len(limited.case.pool)).max()
            assert result.budget - result.spent < longest or result.ran_out is not None, f"seed {seed}: {limited}"


@pytest.mark.slow
def test_tokens_that_are_all_one_select_what_a_budget_of_rows_selects() -> None:
    for seed in range(60):
        case = random_case(seed)
        ones = Limits(np.ones(len(case.pool), np.int32))
        by_rows = walk_targets(case.pool, case.targets, case.settings, case.graph)
        by_tokens = walk_targets(case.pool, case.targets, case.settings, case.graph, limits=ones)
        assert by_tokens.steps == by_rows.steps, f"seed {seed}: {case}"
        assert by_tokens.components == by_rows.components


@pytest.mark.slow
def test_the_cases_reach_every_limit() -> None:
    """Guards the tests above: cases in which no limit binds would prove nothing about them."""
    cases, results = zip(*map(walked, range(NUM_CASES)), strict=True)
    assert (
        sum(result.unit == "tokens" and result.spent < result.budget and not result.ran_out for result in results) > 9
    )
    assert sum(bool(result.full_quotas) for result in results) > 20
    assert any(quota.unit == "tokens" and quota.source in result.full_quotas
               for limited, result in zip(cases, results, strict=True) for quota in limited.limits.quotas)  # fmt: skip
    assert {step.role for result in results for step in result.steps} == {
        *("anchor", "step", "fallback", "refill", "included")
    }
    assert any("quotas are full" in (result.ran_out or "") for result in results)
    assert any(len(result.components) > 1 and result.unit == "tokens" for result in results)
