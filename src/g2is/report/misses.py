"""Near misses: rows that came closest to being chosen and were not, and the rule that kept each out.

The selection keeps no list of what it refused. The rule is found again from what was chosen, in the order in which the
selectors ask.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.report.relations import Relations

MOST = 100


@dataclass(frozen=True)
class Rules:
    """What the selection was made under.

    `copy` is the cosine from which a row is a near-copy, None where none is skipped. `takes_opposed`: rows may oppose a
    whole target. The rule of conflicts is that of the walk's trails, of which `Relations` tells. `ran_out`: the
    targets of which the selector named no further row before the budget was spent, by their place.
    """

    copy: float | None
    takes_opposed: bool
    full_quotas: Collection[str] = ()
    ran_out: Collection[int] = ()


@dataclass(frozen=True)
class Miss:
    """A row (index among the shown) that was not chosen for a target: its worth then, the rule, and whom it names."""

    row: int
    target: int
    worth: float
    rule: str
    told: str
    other: int = -1


def near_misses(
    found: Relations,
    is_chosen: np.ndarray,
    is_closed: np.ndarray,
    chosen_at: np.ndarray,
    chosen_worth: Sequence[float],
    sources: Sequence[str],
    rules: Rules,
    walks: bool,
    scored: np.ndarray | None = None,
) -> list[Miss]:
    """The rows that came closest, the closest first, of every target equally many.

    Closest by what they were still worth, where that is known; else by what the method `scored` them (P, G), or by
    their mean cosine with the target's examples.

    `is_chosen` and `is_closed` (P,) bool: rows that were taken, and such as could not be looked at; nor were those
    whose score is NaN where others have one. `chosen_worth` (G,) is what the last row taken for each target was worth,
    NaN where the selector does not say.
    """
    worth = found.worth
    if worth is None:
        worth = found.similarity if scored is None else np.nan_to_num(scored, nan=-np.inf)
    num_groups = worth.shape[1]
    misses: dict[int, Miss] = {}
    for group in range(num_groups):
        candidates = np.flatnonzero(~is_chosen & ~is_closed & _looked_at(scored, group, len(is_chosen)))
        order = candidates[np.argsort(-worth[candidates, group], kind="stable")]
        wanted = [row for row in order.tolist() if row not in misses][: max(1, MOST // num_groups)]
        for row in wanted:
            value, last = float(worth[row, group]), float(chosen_worth[group])
            if np.isfinite(value):
                misses[row] = _miss(found, row, group, value, chosen_at, last, sources, rules, walks)
    return sorted(misses.values(), key=lambda miss: (-miss.worth, miss.row))


def _looked_at(scored: np.ndarray | None, group: int, num_rows: int) -> np.ndarray:
    """Which rows have a score; all, where the selector scores none."""
    if scored is None:
        return np.ones(num_rows, np.bool_)
    known = ~np.isnan(scored[:, group])
    return np.asarray(known if known.any() else ~known)


def _miss(
    found: Relations,
    row: int,
    group: int,
    worth: float,
    chosen_at: np.ndarray,
    last_worth: float,
    sources: Sequence[str],
    rules: Rules,
    walks: bool,
) -> Miss:
    nearest = int(found.chosen[row, 0]) if found.chosen.shape[1] else -1
    cosine = float(found.chosen_cosine[row, 0]) if nearest >= 0 else 0.0
    near = int(chosen_at[nearest]) if nearest >= 0 else -1
    if sources[row] in rules.full_quotas:
        return Miss(row, group, worth, "quota", f"its source {sources[row]} was full")
    if found.opposed[row, group] and not rules.takes_opposed:
        return Miss(row, group, worth, "opposed", "it opposes every example of the target")
    if rules.copy is not None and cosine >= rules.copy:
        return Miss(row, group, worth, "near-copy", f"nearly the same as a row taken: cosine {cosine:.3f}", near)
    if found.refused is not None and found.refused_cosine is not None and found.refused[row, group] >= 0:
        whom = "a row taken" if found.are_shared else "a row of every trail of the target, most here"
        told = f"it conflicts with {whom}: cosine {found.refused_cosine[row, group]:.3f}"
        return Miss(row, group, worth, "conflict", told, int(chosen_at[found.refused[row, group]]))
    if found.worth is not None:
        last = f"; the last row taken was worth {last_worth:.3g}" if np.isfinite(last_worth) else ""
        told = f"rows taken say most of it already{last}"
        return Miss(row, group, worth, "covered", told, near)
    if walks:
        return Miss(row, group, worth, "not reached", "no trail came to it", near)
    if group in rules.ran_out:
        return Miss(row, group, worth, "passed over", "the selector passed it over by a rule of its own", near)
    return Miss(row, group, worth, "outscored", "others were taken until the budget was spent", near)
