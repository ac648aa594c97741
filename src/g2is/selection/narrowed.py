"""A selection that looks at some rows of the pool alone: what is asked for among these, and what that is in the pool.

It is the very selection that a pool of these rows would get. What is left of the whole pool is its budget.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from g2is.errors import SelectionError
from g2is.methods import CandidateSettings, Section
from g2is.selection.arrays import Rows
from g2is.selection.budget import Unit
from g2is.selection.limits import Limits
from g2is.selection.problem import Selected, TargetRows
from g2is.selection.record import Picks


def num_candidates(settings: Section, num_rows: int) -> int | None:
    """How many of a pool of `num_rows` the selector looks at, for each target; None if at all."""
    asked = settings.part(CandidateSettings).candidates
    return None if asked is None or asked >= num_rows else asked


def check_enough(settings: Section, num_rows: int, budgets: Mapping[str, int], unit: Unit) -> None:
    """Raise SelectionError if the candidates cannot be enough for the `budgets`, by target; of rows alone one knows."""
    num = num_candidates(settings, num_rows)
    for name, budget in budgets.items():
        if num is not None and unit == "rows" and budget > num:
            raise SelectionError(
                f"selection.candidates: expected at least the {budget} rows of target {name!r}'s budget, and better"
                f" several times as many, found {num}; ask for more candidates, or a smaller budget"
            )


def refuse_what_takes_targets(settings: Section) -> None:
    """Raise SelectionError if `settings`, of whatever kind, ask for what takes the target examples, and none are given.

    That is candidates, which are near to these, and preconditioning, which changes them as it does the rows.
    """
    if (asked := getattr(settings, "precondition", None)) is not None:
        raise SelectionError(
            "selection.precondition: expected none here, where core knowledge is given and no target examples, found"
            f" {asked}; leave it out, or use g2is.walk_matrices"
        )
    if (asked := getattr(settings, "candidates", None)) is not None:
        raise SelectionError(
            "selection.candidates: expected none here, where there are no target examples to be near to, found"
            f" {asked}; leave it out, or use g2is.walk_matrices"
        )


def limits_among(limits: Limits, looked_at: Rows, targets: Mapping[str, TargetRows]) -> Limits:
    """`limits` of a pool as they are for its rows `looked_at` (n,) ascending, among which are all included ones.

    Raises SelectionError if these rows cost less than the budgets of `targets`.
    """
    among = _among(limits, looked_at)
    costs = among.costs(len(looked_at))
    budget = sum(target.budget for target in targets.values()) + int(costs[list(among.included)].sum())
    if costs.sum() < budget:
        raise SelectionError(
            f"selection.candidates: expected rows worth the budget of {budget} {limits.unit}, and better several times"
            f" as much, found {len(looked_at)} rows of {costs.sum()} {limits.unit}; ask for more candidates"
        )
    return among


def _among(limits: Limits, looked_at: Rows) -> Limits:
    return Limits(
        num_tokens=None if limits.num_tokens is None else limits.num_tokens[looked_at],
        included=np.searchsorted(looked_at, np.array(limits.included, np.intp)).tolist(),
        quotas=[replace(quota, rows=quota.rows[looked_at]) for quota in limits.quotas],
    )


def in_pool(selected: Selected, looked_at: Rows, num_rows: int) -> Selected:
    """What was `selected` among the rows `looked_at` (n,), by the rows of the pool of `num_rows`.

    Rows that were not looked at have no score. What is said of all rows says that it is of those alone.
    """
    record = selected.record
    scored = {name: np.full(num_rows, np.nan, column.dtype) for name, column in selected.scored.items()}
    for name, column in scored.items():
        column[looked_at] = selected.scored[name]
    of_these = f"; {len(looked_at)} of the pool's {num_rows} rows were looked at (selection.candidates)"
    steps = tuple(replace(step, row=int(looked_at[step.row])) for step in record.steps)
    record = replace(
        record,
        steps=steps,
        ran_out=record.ran_out and record.ran_out + of_these,
        unanswered=tuple(told + of_these for told in record.unanswered),
    )
    if isinstance(record, Picks):
        record = replace(record, handed_on=tuple(told + of_these for told in record.handed_on))
    return replace(selected, record=record, scored=scored)
