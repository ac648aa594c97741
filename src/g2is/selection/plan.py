"""What a selection is asked for: its budget, each target's part of it, and its limits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.config import SelectionConfig
from g2is.config.targets import nearest
from g2is.errors import SelectionError
from g2is.methods import selector_kind
from g2is.selection.budget import Budget, parse_quota, read_budget, share_budget
from g2is.selection.limits import Limits, Quota
from g2is.selection.narrowed import check_enough


@dataclass(frozen=True)
class Pool:
    """What a plan must know of the pool, of whose `num_read` rows N can be selected.

    num_tokens    (N,) int
    sources       (N,), the source of each
    sources_read  the sources of all rows that were read
    included      (n,) int64, which of the N are selected whatever the selector says
    """

    num_read: int
    num_tokens: np.ndarray
    sources: Sequence[str]
    sources_read: Collection[str]
    included: np.ndarray


@dataclass(frozen=True)
class Plan:
    """The whole `budget`, what of it is each target's (without what included rows cost), and the walk's limits."""

    budget: Budget
    target_budgets: Mapping[str, int]
    limits: Limits

    def shares(self, num_rows: int, spent: Mapping[str, int] | None = None) -> dict[str, float]:
        """Each target's budget over what all `num_rows` rows of the pool cost.

        With what each has `spent`, by name, this is of the budget that it had when its turn came, as `Problem.share`:
        with what those before it left over.
        """
        whole = int(self.limits.costs(num_rows).sum())
        found, left = {}, 0
        for name, budget in self.target_budgets.items():
            found[name] = (budget + left) / whole
            left = 0 if spent is None else budget + left - spent.get(name, 0)
        return found

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


def plan_selection(
    settings: SelectionConfig,
    pool: Pool,
    targets: Sequence[str],
) -> Plan:
    """Resolve budget, shares, included rows and quotas for the pool at hand and the names of `targets`.

    Raises SelectionError if the budget cannot be met or does not pay for the included rows, or a quota is malformed,
    of a source that the pool does not have, or below what the included rows take.
    """
    num_rows = len(pool.num_tokens)
    asked = str(num_rows) if selector_kind(settings.selector).takes_all else settings.budget
    budget = read_budget(asked, pool.num_read, pool.num_tokens)
    quotas = []
    for source, text in settings.quotas.items():
        if source not in pool.sources_read:
            near = nearest(source, pool.sources_read, "sources")
            raise SelectionError(f"quota of {source!r}: no row of the pool has this source{near}")
        rows = np.fromiter((each == source for each in pool.sources), bool, num_rows)
        quotas.append(Quota(source, rows, *parse_quota(source, text, budget)))
    limits = Limits(
        num_tokens=None if budget.tokens is None else pool.num_tokens,
        included=pool.included.tolist(),
        quotas=quotas,
    )
    limits.check(num_rows)
    cost = int(limits.costs(num_rows)[pool.included].sum())
    if cost > budget.amount:
        raise SelectionError(
            f"budget: expected at least the {cost} {budget.unit} of the {len(limits.included)} rows to include, found"
            f" {settings.budget} = {budget.amount} {budget.unit}; ask for more, or include fewer"
        )
    shares = settings.shares or dict.fromkeys(targets, 1.0)
    dealt = share_budget(budget.amount - cost, [shares[name] for name in targets])
    budgets = dict(zip(targets, dealt, strict=True))
    check_enough(settings, num_rows, budgets, budget.unit)
    return Plan(budget, budgets, limits)
