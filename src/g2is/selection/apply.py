"""Lets the configured selector choose among rows, whatever they represent and wherever they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.config import SelectionConfig
from g2is.config.targets import titled
from g2is.errors import SelectionError
from g2is.methods import OWN
from g2is.progress import Progress
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.limits import Limits
from g2is.selection.pick import all_open, built_in, pick
from g2is.selection.problem import Problem, Select, Selector
from g2is.selection.record import Picks, Walk
from g2is.selection.scores import core_columns
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import TargetShare, walk_targets


@dataclass(frozen=True, eq=False)
class TargetRows:
    """One target: its part of the budget, and what represents its examples.

    `rows` (M, k) as core knowledge takes them; or, for a representation without vectors, `similarity` (N, M) of the
    pool's rows with them; neither where nothing is looked at. `groups` (M,) of the examples.
    """

    budget: int
    rows: np.ndarray | None = None
    similarity: np.ndarray | None = None
    groups: Sequence[str | None] = ()


@dataclass(frozen=True, eq=False)
class Selected:
    """What was chosen, how each pool row scored (columns (N,) by name), and the core knowledge that was walked."""

    record: Walk | Picks
    scored: Mapping[str, np.ndarray]
    core: Mapping[str, CoreKnowledge]


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
) -> Selected:
    """Choose among `num_rows` rows of a pool, (N, k) `rows` if the representation has vectors, for each target.

    `own` is the user's own selector, if `settings` name it. Rows that are not `usable` (N,) bool are not taken; unless
    it is given, those are zero vectors. Raises SelectionError where a target has no core knowledge, the selector needs
    vectors and there are none, or no row fits the budget.
    """
    core: dict[str, CoreKnowledge] = {}
    if settings.selector == "walk":
        assert rows is not None
        core = {name: _core(name, target, settings) for name, target in targets.items()}
        shares = [TargetShare(name, core[name], target.budget) for name, target in targets.items()]
        record: Walk | Picks = walk_targets(rows, shares, settings, graph, progress, limits)
        scored = core_columns(rows, core)
    else:
        select, open_rows, costs = _select(settings, own), all_open(num_rows), limits.costs(num_rows)
        usable = (open_rows if rows is None else rows.nodes) if usable is None else usable
        open_rows = open_rows & usable
        problems = [
            Problem(name, of.budget, costs, open_rows, settings, rows, of.rows, of.similarity, of.groups)
            for name, of in targets.items()
        ]
        record = pick(problems, select, limits, progress)
        scored = {
            f"similarity.{of.target}": np.where(usable, of.similarity.mean(1), np.nan)
            for of in problems
            if "similarity" in of.__dict__
        }
    if not record.steps and record.ran_out:
        raise SelectionError(
            f"selection: expected at least one row, found none: {record.ran_out}. Use another selector, or other target"
            " examples"
        )
    if not record.steps:
        raise SelectionError(
            f"budget: expected enough for a first row, found {record.budget} {record.unit}, less than the row"
            f" that the selector {settings.selector} would take first has; ask for more"
        )
    return Selected(record, scored, core)


def _core(name: str, target: TargetRows, settings: SelectionConfig) -> CoreKnowledge:
    assert target.rows is not None
    try:
        return core_knowledge(target.rows, settings)
    except SelectionError as error:
        raise SelectionError(f"{titled(name)}: {error}") from None


def _select(settings: SelectionConfig, own: Selector | None) -> Select:
    if not settings.selector.startswith(OWN):
        return built_in(settings.selector)
    assert own is not None, settings.selector
    return own.select
