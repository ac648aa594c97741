"""What a walk over examples is asked for: its budget, each target's part of it, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.selection.budget import Budget, parse_quota, read_budget, share_budget
from g2is.selection.limits import Limits, Quota
from g2is.targets import nearest
from g2is.walk_input import Examples


@dataclass(frozen=True)
class Plan:
    """The whole `budget`, what of it is each target's (without what included rows cost), and the walk's limits."""

    budget: Budget
    target_budgets: Mapping[str, int]
    limits: Limits

    @property
    def digest_parts(self) -> list[bytes | str]:
        """Everything of the plan that the settings do not say."""
        limits = self.limits
        return [
            f"{self.budget.amount} {self.budget.unit} {dict(self.target_budgets)} {list(limits.included)}",
            b"" if limits.num_tokens is None else limits.num_tokens.tobytes(),
            *(f"{quota.source} {quota.most} {quota.unit}".encode() + np.packbits(quota.rows).tobytes()
              for quota in limits.quotas),
        ]  # fmt: skip


def plan_walk(settings: SelectionConfig, examples: Examples) -> Plan:
    """Resolve budget, shares, included rows and quotas for the pool at hand.

    Raises SelectionError if the budget cannot be met or does not pay for the included rows, or a quota is malformed,
    of a source that the pool does not have, or below what the included rows take.
    """
    pool, read = examples.pool, examples.screened.read
    asked = str(len(pool)) if settings.selector == "all" else settings.budget
    budget = read_budget(asked, len(read), pool.num_tokens)
    known = set(read.sources) if settings.quotas else set()
    quotas = []
    for source, text in settings.quotas.items():
        if source not in known:
            raise SelectionError(
                f"quota of {source!r}: no row of the pool has this source{nearest(source, known, 'sources')}"
            )
        rows = np.fromiter((each == source for each in pool.sources), bool, len(pool))
        quotas.append(Quota(source, rows, *parse_quota(source, text, budget)))
    limits = Limits(
        num_tokens=None if budget.tokens is None else pool.num_tokens,
        included=examples.screened.included.tolist(),
        quotas=quotas,
    )
    limits.check(len(pool))
    cost = int(limits.costs(len(pool))[examples.screened.included].sum())
    if cost > budget.amount:
        raise SelectionError(
            f"budget: expected at least the {cost} {budget.unit} of the {len(limits.included)} rows to include, found"
            f" {settings.budget} = {budget.amount} {budget.unit}; ask for more, or include fewer"
        )
    shares = settings.shares or dict.fromkeys(examples.targets, 1.0)
    dealt = share_budget(budget.amount - cost, [shares[name] for name in examples.targets])
    return Plan(budget, dict(zip(examples.targets, dealt, strict=True)), limits)
