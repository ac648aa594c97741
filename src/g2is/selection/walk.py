"""The gradient walk over all components and targets (method.md step 7).

Each target in turn gets an equal share of the budget, and each of its components a share of that by variance. In this
**first deal** every component walks one trail until its share is full or it runs dry. Without `exact_budget` that is
all. With it, what is left is dealt again, by variance, among the components that are not dry, which go on with their
trails; and again, until nothing is left or all are dry. Then a new **round** begins: all components are fresh, the
rest is dealt among all, each starts with a new anchor, and so on. A round in which no row could be taken means that
the pool has run out. The next target begins when this one is done.

A budget is one of costs (`limits.py`): rows, or tokens. A component takes rows as long as the next one fits what it was
dealt; the first that does not ends its deal, for a search among shorter rows would favour short ones. What it could not
spend for that goes to the next component, and from the last one of a target to the next target. With `exact_budget`
dealing goes on until less is left than the next row of any component costs. Rows that all cost 1 know nothing of this.

Settled here, where method.md leaves it open:

- Included rows come first. They are closed and their near-copies refused, but no row conflicts with them, and they are
  part of no trail.
- A quota is full when nothing is left of it, or less than the next row takes; then its source's rows are closed.
- An anchor obeys no conflict or consistency rule, as in the authors' script, but is never a near-copy of a taken row.
- `cross_component_conflicts`: one conflict set is shared by all components, earlier targets' included. Anchors obey it
  too (else they would bring in the very conflicts it is there to prevent), so a component may run dry before its first
  row. It begins again with each new round.
- The authors look for the anchor among the best 1000 rows first. The best open row of those, else of all, is the best
  open row of all, so nothing is left of that here.
- With a graph the list's order decides, as in the authors' script. Without one, the fallback has the same candidates
  and rules as the step that failed, so it is not tried.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from g2is.errors import SelectionError
from g2is.machine.threads import single_threaded_blas
from g2is.methods import Section
from g2is.progress import Progress
from g2is.selection.budget import share_budget, whole_budget
from g2is.selection.candidates import Candidates
from g2is.selection.component import Component, CoreCosines
from g2is.selection.conflicts import Conflicts
from g2is.selection.core import CoreKnowledge
from g2is.selection.files import check_graph, check_k
from g2is.selection.limits import Limits, Tally
from g2is.selection.narrowed import refuse_what_takes_targets
from g2is.selection.opposed import Opposed
from g2is.selection.record import Step, Walk, fraction
from g2is.selection.rules import Rules, WalkSettings
from g2is.selection.shortfall import dry_components, pool_shortfall, unanswered
from g2is.selection.similarity import UnitRows


@dataclass(frozen=True)
class TargetShare:
    """A target to walk for: its name, its core knowledge and its own budget.

    No row that opposes every one of its `examples` (M, k) is taken, unless the settings say so or there are none.
    """

    name: str
    core: CoreKnowledge
    budget: int
    examples: np.ndarray | None = None


def walk(
    pool: np.ndarray | torch.Tensor | UnitRows,
    core: CoreKnowledge | Mapping[str, CoreKnowledge],
    budget: int,
    settings: Section,
    graph: np.ndarray | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Walk:
    """Select `budget` rows of `pool` (N, k), float16 to float64, normalised or not, by a gradient walk.

    `core` is the core knowledge of the target, or of several by name; these are walked in their order and share the
    budget equally. `graph` (N, n) int, if given, holds each row's nearest rows, best first. `progress` is called
    with what is spent so far and the budget after each row. A `UnitRows` of the pool can be handed over, so that
    several walks read its norms only once. With `limits` the budget may be one of tokens, rows may be included anyway,
    which the budget pays for, and sources may have quotas.

    Raises SelectionError if there is no target, the budget is no number from 1 to what N rows cost, or limits do not
    fit; MatrixError if pool, core knowledge and graph do not fit each other or the pool holds NaN or Inf.
    """
    cores = {"target": core} if isinstance(core, CoreKnowledge) else dict(core)
    if not cores:
        raise SelectionError("walk: expected the core knowledge of at least one target, found none")
    refuse_what_takes_targets(settings)
    rows, limits = pool if isinstance(pool, UnitRows) else UnitRows(pool), limits or Limits()
    limits.check(rows.num_rows)
    left = whole_budget(budget) - int(limits.costs(rows.num_rows)[list(limits.included)].sum())
    shares = share_budget(max(left, 0), [1.0] * len(cores))
    if left < 0 and len(limits.included):
        raise SelectionError(f"budget: expected at least what the included rows cost, found {budget}, {-left} less")
    targets = [TargetShare(name, core, share) for (name, core), share in zip(cores.items(), shares, strict=True)]
    return walk_targets(rows, targets, settings, graph, progress, limits)


def walk_targets(
    pool: np.ndarray | torch.Tensor | UnitRows,
    targets: Sequence[TargetShare],
    settings: Section,
    graph: np.ndarray | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Walk:
    """`walk` for targets with budgets of their own; what the included rows cost is none of theirs."""
    rows, limits = pool if isinstance(pool, UnitRows) else UnitRows(pool), limits or Limits()
    limits.check(rows.num_rows)
    costs = limits.costs(rows.num_rows)
    budget = sum(target.budget for target in targets) + int(costs[list(limits.included)].sum())
    most = int(costs.sum())
    if not 1 <= budget <= most or any(target.budget < 0 for target in targets):
        raise SelectionError(f"budget: expected 1 to {most} {limits.unit}, the size of the pool, found {budget}")
    for target in targets:
        check_k(rows.k, target.core.components.shape[1], f"core knowledge of {target.name!r}")
    if graph is not None:
        check_graph(graph, rows.num_rows)
    with single_threaded_blas:
        return _Walker(rows, settings, graph, progress, budget, limits).walk(targets)


class _Walker:
    def __init__(
        self,
        rows: UnitRows,
        settings: Section,
        graph: np.ndarray | None,
        progress: Progress | None,
        budget: int,
        limits: Limits,
    ) -> None:
        self._rows = rows
        self._settings = settings.part(WalkSettings)
        self._rules = Rules.resolve(settings, rows.k)
        self._candidates = Candidates(rows, self._rules, self._settings.keep_zero_rows)
        self._graph = graph
        self._progress = progress
        self._budget = budget
        self._limits = limits
        self._costs = limits.costs(rows.num_rows)
        self._tally = Tally(limits)
        self._spent = 0
        self._steps: list[Step] = []
        self._num_trails = 0
        self._shared_conflicts = self._no_conflicts()
        self._opposed = Opposed(rows, None)  # of the target that is walked

    def walk(self, targets: Sequence[TargetShare]) -> Walk:
        for row in self._limits.included:
            self._candidates.take(int(row))
            self._record(Step(int(row), len(self._steps), None, None, None, "included", math.nan, math.nan, math.nan))
        components: list[Component] = []
        shortfalls: list[str] = []
        silent: list[str] = []
        unspent = 0  # of the targets so far, because no next row fitted it
        for target in targets:
            budget = target.budget + unspent
            budgets = share_budget(budget, target.core.variance.tolist())
            cosines = CoreCosines(self._rows, target.core)
            of_target = [
                Component(target.name, index, target.core, share, self._candidates, self._graph, cosines)
                for index, share in enumerate(budgets)
            ]
            self._opposed = Opposed(self._rows, None if self._rules.takes_opposed else target.examples)
            unspent, shortfall = self._walk_target(TargetShare(target.name, target.core, budget), of_target)
            if shortfall:
                shortfalls.append(shortfall)
            if no_row := unanswered(target.name, of_target):
                silent.append(no_row)
            self._reopen_opposed()
            for component in of_target:
                component.forget()
            components += of_target
        return Walk(
            steps=tuple(self._steps),
            budget=self._budget,
            unit=self._limits.unit,
            spent=self._spent,
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
            num_included=len(self._limits.included),
            full_quotas=tuple(quota.source for quota in self._tally.full),
            ran_out="; ".join(shortfalls) or None,
            unanswered=tuple(silent),
        )

    def _walk_target(self, target: TargetShare, components: list[Component]) -> tuple[int, str | None]:
        """Walk one target's components: what no next row fitted, and where the rows ran out, if they did."""
        unspent = self._deal(components, [component.budget for component in components], refill=False)
        left = target.budget - sum(component.spent for component in components)
        if not self._settings.exact_budget:
            if left <= unspent:
                return unspent, None
            return unspent, dry_components(target.name, target.budget, self._limits.unit, components, self._tally)
        num_rounds = before_round = 0
        while left:
            going_on = [component for component in components if not component.is_dry]
            if not going_on:
                if num_rounds and len(self._steps) == before_round:
                    return 0, self._pool_shortfall(target, left, num_rounds)
                num_rounds, before_round = num_rounds + 1, len(self._steps)
                self._shared_conflicts = self._no_conflicts()
                for component in components:
                    component.begin_anew()
                going_on = components
            shares = share_budget(left, [component.weight for component in going_on])
            unspent = self._deal(going_on, shares, refill=True)
            spent_all = target.budget - sum(component.spent for component in components)
            if spent_all == left and not any(component.is_dry for component in going_on):
                # No share was enough for a row: is all that is left enough for anybody's?
                for component in going_on:
                    spent_all -= self._extend(component, spent_all, refill=True)
                if spent_all == left and not any(component.is_dry for component in going_on):
                    return left, None
            left = spent_all
        return 0, None

    def _deal(self, components: Sequence[Component], shares: Sequence[int], refill: bool) -> int:
        """Let each component spend its share and what those before it could not; what is over of that."""
        unspent = 0
        for component, share in zip(components, shares, strict=True):
            allowance = share + unspent
            spent = self._extend(component, allowance, refill)
            # What a component leaves because it is dry is dealt again, to those that are not.
            unspent = 0 if component.is_dry else allowance - spent
        return unspent

    def _extend(self, component: Component, allowance: int, refill: bool) -> int:
        """Let a component take rows until one does not fit the rest of `allowance`; what they cost."""
        spent = 0
        while spent < allowance:
            taken = component.look(self._shared_conflicts)
            if taken is None:
                return spent
            if self._opposed.refuses(taken.row, self._candidates.open):
                self._candidates.open &= ~self._opposed.rows
                component.is_opposed = True
                continue
            if full := self._tally.refuses(taken.row):
                self._candidates.open &= ~full.rows
                continue
            cost = int(self._costs[taken.row])
            if cost > allowance - spent:
                break
            component.take(taken, cost, refill)
            spent += cost
            if taken.role == "anchor":
                component.trail_number = self._num_trails
                self._num_trails += 1
            self._record(
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
        component.rest()
        return spent

    def _record(self, step: Step) -> None:
        self._steps.append(step)
        self._spent += int(self._costs[step.row])
        if full := self._tally.add(step.row):
            self._candidates.open &= ~full.rows
        if self._progress is not None:
            self._progress(self._spent, self._budget)

    def _no_conflicts(self) -> Conflicts | None:
        """An empty conflict set for all components to share, if they do."""
        if not self._settings.cross_component_conflicts:
            return None
        return Conflicts(self._rows, self._rules.conflict_tolerance)

    def _reopen_opposed(self) -> None:
        """Open again what opposed the last target only, but for the rows of full quotas."""
        opposed = self._opposed.rows
        for full in self._tally.full:
            opposed = opposed & ~full.rows
        self._candidates.open |= opposed
        if self._shared_conflicts is not None:
            self._shared_conflicts.catch_up(np.flatnonzero(opposed))

    def _pool_shortfall(self, target: TargetShare, left: int, num_rounds: int) -> str:
        filled = f"{target.budget - left} of {target.budget} {self._limits.unit}"
        closed = {
            "are taken": len(self._steps),
            "are near-copies of those": self._candidates.num_duplicates,
            "are zero": 0 if self._settings.keep_zero_rows else int((~self._rows.nodes).sum()),
            "oppose it, and only take_opposed would take them": int((self._candidates.open | self._opposed.rows).sum()),
        }
        return pool_shortfall(target.name, filled, num_rounds, self._rows.num_rows, closed, self._tally)
