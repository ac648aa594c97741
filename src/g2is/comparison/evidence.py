"""From finished cells to what they say: each method at each budget, on each target and on the mean over targets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from g2is.comparison.cells import Cell, Key, key_of
from g2is.comparison.contrasts import (
    Contrast,
    Quantity,
    Recovered,
    Samples,
    contrast,
    range_over_seeds,
    recovered,
    relative_range_over_seeds,
)
from g2is.comparison.grid import Grid, arrange
from g2is.comparison.overlap import Overlap, Stability, mean_stability, overlap, stability
from g2is.comparison.statistics import NUM_RESAMPLES, Estimate, estimate
from g2is.errors import ConfigError
from g2is.methods import ALWAYS, FULL, RANDOM, UNTUNED

Range = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """What a method at a budget does on `targets`: on one of them, or on the mean over several.

    `num_done` of `num_planned` cells are finished. `loss` in nats per answer token, averaged over all seeds it has, and
    `loss_range` over these (one target only); `relative`, to random's loss, and `relative_range` over seeds; `metrics`
    by name. Means over cells: `num_rows` and their `num_tokens`, tuned on in `num_steps`, `seconds` by stage. None, or
    absent, where cells are missing.
    """

    targets: tuple[str, ...]
    num_done: int
    num_planned: int
    loss: Estimate | None
    loss_range: Range | None
    relative: Estimate | None
    relative_range: Range | None
    to_random: Contrast | None
    to_untuned: Contrast | None
    recovered: Recovered
    metrics: Mapping[str, Estimate]
    num_rows: float | None
    num_tokens: float | None
    num_steps: float | None
    seconds: Mapping[str, float]
    stability: Stability | None


@dataclass(frozen=True)
class Entry:
    """A method at a budget: on the mean over targets, and on each."""

    budget: str
    method: str
    mean: Part
    by_target: Mapping[str, Part]


@dataclass(frozen=True)
class Pair:
    """One method against another at a budget, on one target or on the mean over several."""

    budget: str
    method: str
    other: str
    targets: tuple[str, ...]
    contrast: Contrast


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison, finished or under way.

    `entries` by budget, best mean over targets first; `mean_targets` by budget are those that the mean is over, and
    `recovered_targets` those of R; `overlaps` by budget and target; `outside` are finished cells that the grid does not
    have. `settings`, `environment` (machine, versions) and `remarks` (on pool and tests) as they were given.
    """

    grid: Grid
    cells: Mapping[Key, Cell]
    missing: Sequence[Key]
    num_pool_rows: int
    entries: Mapping[str, Sequence[Entry]]
    mean_targets: Mapping[str, tuple[str, ...]]
    recovered_targets: Mapping[str, tuple[str, ...]]
    pairs: Sequence[Pair]
    overlaps: Mapping[tuple[str, str], Overlap]
    outside: Sequence[Key]
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    remarks: Sequence[str]
    seed: int
    num_resamples: int

    @property
    def num_test_examples(self) -> dict[str, int]:
        """Test examples of each target that has a finished cell."""
        return {key.target: len(cell.losses) for key, cell in self.cells.items()}


def compare_cells(
    cells: Iterable[Cell],
    grid: Grid,
    num_pool_rows: int,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    remarks: Sequence[str] = (),
    recovered_on: Sequence[str] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Comparison:
    """Compare the finished `cells` of `grid`, which need not be all.

    The mean over targets is over those on which `random` has a finished cell at that budget, and a method that lacks
    one of them has no mean; R is over those of them that are in `recovered_on` (all unless given). `seed` is that of
    the resamples. Raises ConfigError for a target in `recovered_on` that is not compared; InputError for a cell that
    comes twice, or cells of one target that were tested on different examples.
    """
    if unknown := [target for target in recovered_on or () if target not in grid.targets]:
        raise ConfigError(
            f"compare: expected targets of the comparison ({', '.join(grid.targets)}) to take R over, found"
            f" {', '.join(unknown)}"
        )
    done, outside = arrange(cells, grid)
    losses = Samples(done, lambda cell: cell.summed_losses, seed, num_resamples)
    names = dict.fromkeys(name for cell in done.values() for name in cell.metrics)
    metrics = {name: Samples(done, _metric(name), seed, num_resamples) for name in names}
    methods = list(dict.fromkeys([*grid.methods, *ALWAYS]))
    entries: dict[str, list[Entry]] = {}
    mean_targets: dict[str, tuple[str, ...]] = {}
    recovered_targets: dict[str, tuple[str, ...]] = {}
    for budget in grid.budgets:
        covered = tuple(target for target in grid.targets if losses.seeds([RANDOM], target, budget))
        chosen = tuple(target for target in covered if recovered_on is None or target in recovered_on)
        mean_targets[budget], recovered_targets[budget] = covered, chosen

        def part(method: str, targets: tuple[str, ...], of_recovered: tuple[str, ...], budget: str = budget) -> Part:
            return _part(done, grid, num_pool_rows, losses, metrics, method, targets, of_recovered, budget)

        found = [
            Entry(
                budget,
                method,
                part(method, covered, chosen),
                {target: part(method, (target,), (target,)) for target in grid.targets},
            )
            for method in methods
        ]
        entries[budget] = sorted(found, key=_by_mean)
    return Comparison(
        grid=grid,
        cells=done,
        missing=[key for key in grid.planned() if key not in done],
        num_pool_rows=num_pool_rows,
        entries=entries,
        mean_targets=mean_targets,
        recovered_targets=recovered_targets,
        pairs=_pairs(losses, methods, grid, mean_targets),
        overlaps=_overlaps(done, grid),
        outside=outside,
        settings=settings,
        environment=environment,
        remarks=remarks,
        seed=seed,
        num_resamples=num_resamples,
    )


def _metric(name: str) -> Quantity:
    def of_cell(cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
        values = cell.metrics.get(name)
        if values is None or np.isnan(values).all():
            return None
        return np.nan_to_num(values, nan=0.0), (~np.isnan(values)).astype(np.float64)

    return of_cell


def _part(
    done: Mapping[Key, Cell],
    grid: Grid,
    num_pool_rows: int,
    losses: Samples,
    metrics: Mapping[str, Samples],
    method: str,
    targets: tuple[str, ...],
    of_recovered: tuple[str, ...],
    budget: str,
) -> Part:
    keys = [key for target in targets for key in _keys(grid, method, target, budget)]
    cells = [done[key] for key in keys if key in done]
    loss = losses.mean_over(method, targets, budget)
    to_random = contrast(losses, method, RANDOM, targets, budget)
    of_target = [
        stability([cell.rows for cell in cells if cell.target == target and cell.rows is not None], num_pool_rows)
        for target in targets
    ]
    means = {
        name: estimate(mean)
        for name, of_metric in metrics.items()
        if (mean := of_metric.mean_over(method, targets, budget)) is not None
    }
    stages = dict.fromkeys(stage for cell in cells for stage in cell.seconds)
    return Part(
        targets=targets,
        num_done=len(cells),
        num_planned=len(keys),
        loss=None if loss is None else estimate(loss),
        loss_range=range_over_seeds(losses, method, targets[0], budget) if len(targets) == 1 else None,
        relative=to_random.relative.shifted(1.0) if to_random else None,
        relative_range=relative_range_over_seeds(losses, method, targets, budget),
        to_random=to_random,
        to_untuned=contrast(losses, method, UNTUNED, targets, budget),
        recovered=recovered(losses, method, of_recovered, budget),
        metrics=means,
        num_rows=_mean(cell.num_rows(num_pool_rows) for cell in cells),
        num_tokens=_mean(cell.num_tokens for cell in cells),
        num_steps=_mean(cell.num_steps for cell in cells),
        seconds={stage: float(np.mean([c.seconds[stage] for c in cells if stage in c.seconds])) for stage in stages},
        stability=mean_stability([found for found in of_target if found is not None]),
    )


def _keys(grid: Grid, method: str, target: str, budget: str) -> list[Key]:
    if method not in grid.methods:
        return []
    return list(dict.fromkeys(key_of(method, target, budget, seed) for seed in grid.seeds))


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def _by_mean(entry: Entry) -> float:
    """Best first; what has no mean, or none that is a number, last."""
    relative = entry.mean.relative
    return relative.value if relative is not None and np.isfinite(relative.value) else np.inf


def _pairs(
    losses: Samples, methods: Sequence[str], grid: Grid, mean_targets: Mapping[str, tuple[str, ...]]
) -> list[Pair]:
    found = []
    for budget in grid.budgets:
        for targets in dict.fromkeys([mean_targets[budget], *((target,) for target in grid.targets)]):
            for method, other in combinations(methods, 2):
                if compared := contrast(losses, method, other, targets, budget):
                    found.append(Pair(budget, method, other, targets, compared))
    return found


def _overlaps(done: Mapping[Key, Cell], grid: Grid) -> dict[tuple[str, str], Overlap]:
    """By budget and target; of the methods that selected rows anywhere in the comparison."""
    methods = [
        method
        for method in grid.methods
        if method != FULL and any(key.method == method and cell.rows is not None for key, cell in done.items())
    ]
    return {
        (budget, target): overlap(
            {
                method: {
                    key.seed: cell.rows
                    for key, cell in done.items()
                    if key[:3] == (method, target, budget) and key.seed is not None and cell.rows is not None
                }
                for method in methods
            }
        )
        for budget in grid.budgets
        for target in grid.targets
    }
