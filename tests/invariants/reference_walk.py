"""The walk of method.md step 7 as plainly as it can be written: all cosines in one float64 matrix, no shortcut.

Written from method.md and the docstring of `g2is.selection.walk`, sharing no code with it. `grain` is how far apart two
values must be to differ; with 0 this is the textbook comparison.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from g2is.config import SelectionConfig


@dataclass
class Trail:
    members: list[int] = field(default_factory=list)
    total: np.ndarray | None = None
    values: list[float] = field(default_factory=list)


@dataclass
class Component:
    target: str
    index: int
    direction: np.ndarray
    weight: float
    budget: int
    has_sign: bool = False
    spent: int = 0
    to_core: list[float] = field(default_factory=list)
    trail: Trail = field(default_factory=Trail)
    dry: bool = False


def deal(budget: int, weights: list[float]) -> list[int]:
    exact = [Fraction(weight) for weight in weights]
    if sum(exact) == 0:
        exact = [Fraction(1)] * len(exact)
    quotas = [budget * weight / sum(exact) for weight in exact]
    shares = [math.floor(quota) for quota in quotas]
    while sum(shares) < budget:
        remainders = [quota - share for quota, share in zip(quotas, shares, strict=True)]
        shares[remainders.index(max(remainders))] += 1
    return shares


def dot(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (rows * vector).sum(axis=-1)


class ReferenceWalk:
    """`selected` holds (row, role, target, component) in order after `run`.

    `costs` (N,) are what rows take from the budget (default 1 each), `included` rows that are selected first, `quotas`
    lists (rows of a source, most, whether costs are counted rather than rows).
    """

    def __init__(
        self,
        pool: np.ndarray,
        settings: SelectionConfig,
        graph: np.ndarray | None = None,
        grain: float = 1e-12,
        costs: list[int] | None = None,
        included: Sequence[int] = (),
        quotas: Sequence[tuple[set[int], int, bool]] = (),
    ) -> None:
        values = pool.astype(np.float64)
        norms = np.sqrt((values * values).sum(axis=1))
        self.units = values / np.where(norms == 0, 1e-10, norms)[:, None]
        self.num_rows, k = values.shape
        self.cosines = np.stack([dot(self.units, unit) for unit in self.units])
        self.is_node = norms > 0 if not settings.keep_zero_rows else np.ones(self.num_rows, dtype=bool)
        self.settings = settings
        self.tolerance = 2 / math.sqrt(k) if settings.conflict_tolerance == "noise" else settings.conflict_tolerance
        self.graph = graph
        self.grain = grain
        self.costs = costs or [1] * self.num_rows
        self.quotas = quotas
        self.full: list[int] = []
        self.selected: list[tuple[int, str, str | None, int | None]] = []
        for row in included:
            self.selected.append((row, "included", None, None))
            self.fill_quotas()
        self.of_this_round: list[int] = []
        self.ran_out = False
        self.refuses_opposed = settings.orient and not settings.take_opposed
        self.to_examples: np.ndarray | None = None  # of the target that is walked

    def run(
        self,
        targets: list[tuple[str, np.ndarray, list[float], int]],
        alignments: Sequence[np.ndarray] | None = None,
        examples: Sequence[np.ndarray] | None = None,
    ) -> None:
        """Walk (name, components (C, k), variances, budget) one after the other.

        For each target, the components' cosines with the mean example (C,), and examples (M, k), where there are any.
        """
        unspent = 0
        for place, (name, directions, weights, share) in enumerate(targets):
            budget = share + unspent
            if examples is not None:
                lengths = np.linalg.norm(examples[place], axis=1, keepdims=True)
                units = examples[place] / np.where(lengths > 0, lengths, 1)
                self.to_examples = np.stack([dot(self.units, example) for example in units], axis=1)
            components = []
            for index, (direction, weight, part) in enumerate(
                zip(directions, weights, deal(budget, weights), strict=True)
            ):
                unit = direction / np.linalg.norm(direction)
                components.append(Component(name, index, unit, weight, part))
                components[-1].to_core = dot(self.units, unit).tolist()
                components[-1].has_sign = alignments is not None and bool(alignments[place][index] > 1e-12)
            unspent = self.walk_target(components, budget)

    def walk_target(self, components: list[Component], budget: int) -> int:
        """What is left because no next row fitted it: the next target's."""
        over = 0
        for component in components:
            over = self.take_up_to(component, component.budget + over, refill=False)
        left = budget - sum(component.spent for component in components)
        if not self.settings.exact_budget:
            self.ran_out |= left > over
            return over
        fresh_since = None
        while left > 0:
            alive = [component for component in components if not component.dry]
            if not alive:
                if fresh_since == len(self.selected):
                    self.ran_out = True
                    return 0
                fresh_since = len(self.selected)
                self.of_this_round = []
                for component in components:
                    component.trail, component.dry = Trail(), False
                alive = components
            num_before, over = len(self.selected), 0
            for component, share in zip(alive, deal(left, [c.weight for c in alive]), strict=True):
                over = self.take_up_to(component, share + over, refill=True)
            if len(self.selected) == num_before and not any(component.dry for component in alive):
                for component in alive:
                    spent = sum(each.spent for each in components)
                    self.take_up_to(component, budget - spent, refill=True)
                if len(self.selected) == num_before and not any(component.dry for component in alive):
                    return left
            left = budget - sum(component.spent for component in components)
        return 0

    def take_up_to(self, component: Component, allowance: int, refill: bool) -> int:
        """What is over of `allowance` because the next row does not fit it."""
        while allowance > 0:
            found = self.next_row(component)
            if found is None:
                component.dry = True
                return 0
            row, role = found
            if self.breaks_a_quota(row):
                continue
            if self.costs[row] > allowance:
                return allowance
            allowance -= self.costs[row]
            component.spent += self.costs[row]
            trail = component.trail
            trail.total = self.units[row] if trail.total is None else trail.total + self.units[row]
            trail.members.append(row)
            trail.values.append(self.consistency(trail.total, component.direction))
            self.of_this_round.append(row)
            self.selected.append((row, "refill" if refill else role, component.target, component.index))
            self.fill_quotas()
        return 0

    def taken_of(self, quota: int) -> int:
        rows, _, counts_costs = self.quotas[quota]
        return sum(self.costs[row] if counts_costs else 1 for row, *_ in self.selected if row in rows)

    def fill_quotas(self) -> None:
        for index, (_, most, _) in enumerate(self.quotas):
            if self.taken_of(index) >= most and index not in self.full:
                self.full.append(index)

    def breaks_a_quota(self, row: int) -> bool:
        for index, (rows, most, counts_costs) in enumerate(self.quotas):
            if row in rows and self.taken_of(index) + (self.costs[row] if counts_costs else 1) > most:
                self.full.append(index)
                return True
        return False

    def next_row(self, component: Component) -> tuple[int, str] | None:
        open_rows = [row for row in range(self.num_rows) if self.is_open(row)]
        if self.settings.cross_component_conflicts:
            free = [row for row in open_rows if not self.conflicts(row, self.of_this_round)]
        else:
            free = [row for row in open_rows if not self.conflicts(row, component.trail.members)]
        if not component.trail.members:
            return self.anchor(component, free)
        last = component.trail.members[-1]
        if self.graph is None:
            near = [row for row in free if self.consistent(row, component)]
            best = self.best(near, self.cosines[last].tolist())
            if best is not None:
                return best, "step"
        else:
            for row in self.graph[last].tolist():
                if row in free and self.consistent(row, component):
                    return row, "step"
        best = self.best([row for row in free if self.consistent(row, component)], component.to_core)
        return None if best is None else (best, "fallback")

    def anchor(self, component: Component, free: list[int]) -> tuple[int, str] | None:
        if self.refuses_opposed and component.has_sign:
            free = [row for row in free if component.to_core[row] >= -self.grain]
        best = self.best(free, component.to_core)
        return None if best is None else (best, "anchor")

    def best(self, rows: list[int], value: list[float]) -> Any:
        if not rows:
            return None
        highest = max(value[row] for row in rows)
        return min(row for row in rows if value[row] >= highest - self.grain)

    def is_open(self, row: int) -> bool:
        if not self.is_node[row] or any(row in self.quotas[index][0] for index in self.full):
            return False
        if self.refuses_opposed and self.to_examples is not None and (self.to_examples[row] < -self.grain).all():
            return False
        threshold = self.settings.duplicate_threshold
        for taken, *_ in self.selected:
            if row == taken:
                return False
            if threshold is not None and self.cosines[taken, row] >= threshold - self.grain:
                return False
        return True

    def conflicts(self, row: int, taken: list[int]) -> bool:
        return any(self.cosines[other, row] < -self.tolerance - self.grain for other in taken)

    def consistency(self, total: np.ndarray, direction: np.ndarray) -> float:
        length = math.sqrt(float(dot(total, total)))
        value = float(dot(total, direction)) / length if length > 1e-10 else 0.0
        return value if self.settings.consistency_sign == "signed" else abs(value)

    def consistent(self, row: int, component: Component) -> bool:
        trail = component.trail
        assert trail.total is not None
        reference = {
            "previous": trail.values[-1],
            "anchor": trail.values[0],
            "best": max(trail.values),
        }[self.settings.consistency_reference]
        after = self.consistency(trail.total + self.units[row], component.direction)
        return after >= self.settings.delta * reference - self.grain
