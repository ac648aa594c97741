"""The gradient walk over all components and targets (method.md step 7).

Each target in turn gets an equal share of the budget, and each of its components a share of that by variance. In this
**first deal** every component walks one trail until its share is full or it runs dry. Without `exact_budget` that is
all. With it, what is left is dealt again, by variance, among the components that are not dry, which go on with their
trails; and again, until nothing is left or all are dry. Then a new **round** begins: all components are fresh, the
rest is dealt among all, each starts with a new anchor, and so on. A round in which no row could be taken means that
the pool has run out. The next target begins when this one is done.

Settled here, where method.md leaves it open:

- An anchor obeys no conflict or consistency rule, as in the authors' script, but is never a near-copy of a taken row.
- `cross_component_conflicts`: one conflict set is shared by all components, earlier targets' included. Anchors obey it
  too (else they would bring in the very conflicts it is there to prevent), so a component may run dry before its first
  row. It begins again with each new round.
- The authors look for the anchor among the best 1000 rows first. The best open row of those, else of all, is the best
  open row of all, so nothing is left of that here.
- With a graph the list's order decides, as in the authors' script. Without one, the fallback has the same candidates
  and rules as the step that failed, so it is not tried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.progress import Progress
from g2is.selection.budget import share_budget
from g2is.selection.candidates import Candidates, Rules
from g2is.selection.component import Component
from g2is.selection.core import CoreKnowledge
from g2is.selection.files import check_graph, check_k
from g2is.selection.record import Step, Walk, fraction
from g2is.selection.similarity import UnitRows


@dataclass(frozen=True)
class TargetShare:
    """A target to walk for: its name, its core knowledge and its own budget."""

    name: str
    core: CoreKnowledge
    budget: int


def walk(
    pool: np.ndarray | torch.Tensor | UnitRows,
    core: CoreKnowledge | Mapping[str, CoreKnowledge],
    budget: int,
    settings: SelectionConfig,
    graph: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Walk:
    """Select `budget` rows of `pool` (N, k), float16 to float64, normalised or not, by a gradient walk.

    `core` is the core knowledge of the target, or of several by name; these are walked in their order and share the
    budget equally. `graph` (N, n) int, if given, holds each row's nearest rows, best first. `progress` is called
    with the rows taken so far and the budget after each row. A `UnitRows` of the pool can be handed over, so that
    several walks read its norms only once.

    Raises SelectionError if there is no target or the budget is below 1 or above N; MatrixError if pool, core
    knowledge and graph do not fit each other or the pool holds NaN or Inf.
    """
    cores = {"target": core} if isinstance(core, CoreKnowledge) else dict(core)
    if not cores:
        raise SelectionError("walk: expected the core knowledge of at least one target, found none")
    shares = share_budget(max(budget, 0), [1.0] * len(cores))
    targets = [TargetShare(name, core, share) for (name, core), share in zip(cores.items(), shares, strict=True)]
    return walk_targets(pool, targets, settings, graph, progress)


def walk_targets(
    pool: np.ndarray | torch.Tensor | UnitRows,
    targets: Sequence[TargetShare],
    settings: SelectionConfig,
    graph: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Walk:
    """`walk` for targets with budgets of their own."""
    rows = pool if isinstance(pool, UnitRows) else UnitRows(pool)
    budget = sum(target.budget for target in targets)
    if not 1 <= budget <= rows.num_rows or any(target.budget < 0 for target in targets):
        raise SelectionError(f"budget: expected 1 to {rows.num_rows} rows, the size of the pool, found {budget}")
    for target in targets:
        check_k(rows.k, target.core.components.shape[1], f"core knowledge of {target.name!r}")
    if graph is not None:
        check_graph(graph, rows.num_rows)
    return _Walker(rows, settings, graph, progress, budget).walk(targets)


class _Walker:
    def __init__(
        self,
        rows: UnitRows,
        settings: SelectionConfig,
        graph: np.ndarray | None,
        progress: Progress | None,
        budget: int,
    ) -> None:
        self._rows = rows
        self._settings = settings
        self._rules = Rules.resolve(settings, rows.k)
        self._candidates = Candidates(rows, self._rules, settings.keep_zero_rows)
        self._graph = graph
        self._progress = progress
        self._budget = budget
        self._steps: list[Step] = []
        self._num_trails = 0
        self._shared_conflicts = np.zeros(rows.num_rows, dtype=bool)

    def walk(self, targets: Sequence[TargetShare]) -> Walk:
        components: list[Component] = []
        shortfalls: list[str] = []
        for target in targets:
            budgets = share_budget(target.budget, target.core.variance.tolist())
            of_target = [
                Component(target.name, index, target.core, share, self._candidates, self._graph)
                for index, share in enumerate(budgets)
            ]
            if shortfall := self._walk_target(target, of_target):
                shortfalls.append(shortfall)
            for component in of_target:
                component.forget()
            components += of_target
        return Walk(
            steps=tuple(self._steps),
            budget=self._budget,
            components=tuple(component.report() for component in components),
            conflict_tolerance=self._rules.conflict_tolerance,
            conflict_refused_fraction=fraction(
                sum(component.num_refused for component in components),
                sum(component.num_considered for component in components),
            ),
            noise=self._rules.noise,
            noise_fraction=fraction(self._candidates.num_in_noise, self._candidates.num_similarities),
            num_zero_rows=int((~self._rows.nodes).sum()),
            num_duplicates=self._candidates.num_duplicates,
            ran_out="; ".join(shortfalls) or None,
        )

    def _walk_target(self, target: TargetShare, components: list[Component]) -> str | None:
        """Walk one target's components; says where the rows ran out, if they did."""
        for component in components:
            self._extend(component, component.budget, refill=False)
        left = target.budget - sum(component.num_taken for component in components)
        if not self._settings.exact_budget:
            return _dry_components(target, components) if left else None
        num_rounds = num_in_round = 0
        while left:
            going_on = [component for component in components if not component.is_dry]
            if not going_on:
                if num_rounds and not num_in_round:
                    return self._pool_shortfall(target, left, num_rounds)
                num_rounds, num_in_round = num_rounds + 1, 0
                self._shared_conflicts = np.zeros(self._rows.num_rows, dtype=bool)
                for component in components:
                    component.begin_anew()
                going_on = components
            shares = share_budget(left, [component.weight for component in going_on])
            for component, share in zip(going_on, shares, strict=True):
                num_taken = self._extend(component, share, refill=True)
                left -= num_taken
                num_in_round += num_taken
        return None

    def _pool_shortfall(self, target: TargetShare, left: int, num_rounds: int) -> str:
        closed = [f"{len(self._steps)} are taken", f"{self._candidates.num_duplicates} are near-copies of those"]
        if num_zero_rows := int((~self._rows.nodes).sum()):
            closed.append(f"{num_zero_rows} are zero")
        return (
            f"target {target.name!r}: {target.budget - left} of {target.budget} rows, because the pool ran out after"
            f" step {len(self._steps)}, in round {num_rounds} of new anchors: of its {self._rows.num_rows} rows"
            f" {', '.join(closed)}"
        )

    def _extend(self, component: Component, num_rows: int, refill: bool) -> int:
        """Let a component take up to `num_rows` more rows; how many it took."""
        shared = self._shared_conflicts if self._settings.cross_component_conflicts else None
        for num_taken in range(num_rows):
            taken = component.take(shared, refill)
            if taken is None:
                return num_taken
            if taken.role == "anchor":
                component.trail_number = self._num_trails
                self._num_trails += 1
            self._steps.append(
                Step(
                    row=taken.row,
                    order=len(self._steps),
                    target=component.target,
                    component=component.index,
                    trail=component.trail_number,
                    role="refill" if refill else taken.role,
                    similarity_to_previous=taken.similarity_to_previous,
                    similarity_to_core=taken.similarity_to_core,
                    consistency=taken.consistency,
                )
            )
            if self._progress is not None:
                self._progress(len(self._steps), self._budget)
        component.rest()
        return num_rows


def _dry_components(target: TargetShare, components: list[Component]) -> str:
    dry = [
        f"component {component.index} after {component.num_taken} of {component.budget} rows"
        for component in components
        if component.is_dry
    ]
    num_taken = sum(component.num_taken for component in components)
    return (
        f"target {target.name!r}: {num_taken} of {target.budget} rows, because no row met the rules any more for"
        f" {', '.join(dry)}; exact_budget would fill up"
    )
