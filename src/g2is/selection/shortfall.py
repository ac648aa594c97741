"""What a walk says where it could not spend a target's budget, or found nothing for a component."""

from collections.abc import Mapping, Sequence

from g2is.selection.budget import Unit
from g2is.selection.component import Component
from g2is.selection.limits import Tally


def pool_shortfall(
    target: str, filled: str, num_rounds: int, num_rows: int, closed: Mapping[str, int], tally: Tally
) -> str:
    """With `exact_budget`: the pool ran out. `closed` says why rows cannot be taken, and how many for each reason."""
    told = [f"{count} {why}" for why, count in closed.items() if count]
    return (
        f"target {target!r}: {filled}, because the pool ran out after step {closed['are taken']}, in round {num_rounds}"
        f" of new anchors: of its {num_rows} rows {', '.join(told)}{full_quotas(tally)}"
    )


def dry_components(target: str, budget: int, unit: Unit, components: Sequence[Component], tally: Tally) -> str:
    """Without `exact_budget`: which components ran dry."""
    dry = [
        f"component {component.index} after {component.spent} of {component.budget} {unit}"
        for component in components
        if component.is_dry
    ]
    return (
        f"target {target!r}: {sum(component.spent for component in components)} of {budget} {unit},"
        f" because no row met the rules any more for {', '.join(dry)}{full_quotas(tally)}; exact_budget would fill up"
    )


def unanswered(target: str, components: Sequence[Component]) -> str | None:
    """Which components took nothing because no row agreed with them; None if each was answered, or was never asked."""
    silent = [str(component.index) for component in components if component.is_opposed and not component.num_taken]
    if not silent:
        return None
    return f"target {target!r}: no row agrees with component{'s' * (len(silent) > 1)} {', '.join(silent)}"


def full_quotas(tally: Tally) -> str:
    """Which quotas are full, for the end of a message."""
    full = [f"{quota.source} ({quota.most} {quota.unit})" for quota in tally.full]
    return f"; closed because their quotas are full: {', '.join(full)}" if full else ""
