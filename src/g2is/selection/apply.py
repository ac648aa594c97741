"""Lets the configured selector choose among rows, whatever they represent and wherever they come from."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.methods import selector_kind
from g2is.progress import Progress
from g2is.selection.limits import Limits
from g2is.selection.narrowed import in_pool, limits_among
from g2is.selection.opposed import Opposed
from g2is.selection.pick import all_open, pick
from g2is.selection.problem import Problem, Renew, Select, Selected, SelectJointly, Selector, TargetRows
from g2is.selection.record import Picks, Walk
from g2is.selection.rules import Rules
from g2is.selection.similarity import UnitRows
from g2is.selection.together import as_one


def apply_selector(
    num_rows: int,
    rows: UnitRows | None,
    targets: Mapping[str, TargetRows],
    settings: SelectionConfig,
    limits: Limits,
    progress: Progress | None = None,
    graph: np.ndarray | None = None,
    own: Selector | None = None,
    usable: np.ndarray | None = None,
    keys: np.ndarray | None = None,
    places: np.ndarray | None = None,
    whole: int | None = None,
    renew: Renew | None = None,
) -> Selected:
    """Choose among `num_rows` rows of a pool, (N, k) `rows` if the representation has vectors, for each target.

    A target row of zeros is similar to nothing: only a selector that chooses for all targets at once is given it.

    `own` is the user's own selector, if `settings` name it. Rows that are not `usable` (N,) bool are not taken; unless
    it is given, those are zero vectors. `keys` (N, 16) uint8 are the rows' contents, hashed. Where `places` (n,) are
    given, ascending, `rows` are those of the pool at these alone: no others are looked at; all else is of all rows.
    `whole` is what all rows of the pool cost, by default those here. `renew` gives a target's rows anew, of whoever
    asks for them (`selection.rounds`).

    Raises SelectionError where a target has no core knowledge, the selector needs vectors and there are none, or no row
    fits the budget.
    """
    whole = int(limits.costs(num_rows).sum()) if whole is None else whole
    if places is None:
        selected = _apply_to_all(
            *(num_rows, rows, targets, settings, limits, progress, graph, own, usable, keys, whole, renew)
        )
    else:
        among = limits_among(limits, places, targets)
        keys = None if keys is None else keys[places]
        renewed = None if renew is None else lambda name, taken: renew(name, places[list(taken)].tolist())
        found = _apply_to_all(
            *(len(places), rows, targets, settings, among, progress, None, own, None, keys, whole, renewed)
        )
        selected = in_pool(found, places, num_rows)
    _check_not_empty(selected, settings)
    return selected


def _apply_to_all(
    num_rows: int,
    rows: UnitRows | None,
    targets: Mapping[str, TargetRows],
    settings: SelectionConfig,
    limits: Limits,
    progress: Progress | None,
    graph: np.ndarray | None,
    own: Selector | None,
    usable: np.ndarray | None,
    keys: np.ndarray | None,
    whole: int,
    renew: Renew | None,
) -> Selected:
    kind = selector_kind(settings.selector)
    if kind.select_jointly is not None:
        assert rows is not None
        jointly: SelectJointly = kind.select_jointly
        selected = jointly(rows, targets, settings, limits, progress, graph)
    else:
        select, open_rows, costs = kind.select or _select(own), all_open(num_rows), limits.costs(num_rows)
        usable = (open_rows if rows is None else rows.nodes) if usable is None else usable
        open_rows = open_rows & usable
        problems = [
            Problem(
                *(name, of.budget, costs, open_rows, settings, rows, of.rows, of.similarity, of.groups, keys),
                whole=whole,
                renew=None if renew is None else partial(renew, name),
            )
            for name, of in ((name, _without_zero_rows(of)) for name, of in targets.items())
        ]
        record = pick([as_one(problems)] if kind.together else problems, select, limits, progress)
        scored = {
            f"similarity.{of.target}": np.where(usable, of.similarity.mean(1), np.nan)
            for of in problems
            if of.is_compared
        }
        selected = Selected(record, scored, {})
    if rows is not None and (own is not None or Rules.resolve(settings, rows.k).takes_opposed):
        return replace(selected, against=_against(rows, targets, selected.record))
    return selected


def _without_zero_rows(target: TargetRows) -> TargetRows:
    if target.rows is None:
        return target
    kept = np.asarray(target.rows.any(axis=1))
    if kept.all() or not kept.any():
        return target
    groups = [group for group, is_kept in zip(target.groups, kept, strict=False) if is_kept]
    return replace(target, rows=target.rows[kept], groups=groups)


def _against(rows: UnitRows, targets: Mapping[str, TargetRows], record: Walk | Picks) -> dict[str, int]:
    """How many of each target's rows oppose every example of it; without targets of none."""
    found = {}
    for name, target in targets.items():
        opposed = Opposed(rows, target.rows)
        found[name] = sum(opposed.opposes(step.row) for step in record.steps if step.target == name)
    return {name: count for name, count in found.items() if count}


def _select(own: Selector | None) -> Select:
    assert own is not None
    return own.select


def _check_not_empty(selected: Selected, settings: SelectionConfig) -> None:
    record = selected.record
    if record.steps:
        return
    if record.ran_out:
        raise SelectionError(
            f"selection: expected at least one row, found none: {'; '.join((record.ran_out, *record.unanswered))}. Use"
            " another selector, or other target examples"
        )
    raise SelectionError(
        f"budget: expected enough for a first row, found {record.budget} {record.unit}, less than the row"
        f" that the selector {settings.selector} would take first has; ask for more"
    )
