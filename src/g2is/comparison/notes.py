"""What a reader of a comparison must know beside its numbers."""

from collections.abc import Iterator

import numpy as np

from g2is.comparison.evidence import Comparison, Entry, Part
from g2is.comparison.statistics import UNCLEAR
from g2is.methods import ALWAYS, FULL, RANDOM

FEWEST_TEST_EXAMPLES = 30  # of fewer a bootstrap's percentile intervals are too narrow


def notes(comparison: Comparison) -> list[str]:
    """One sentence each: what is not a number, was left out, is absent, or was compared on fewer seeds or targets."""
    grid = comparison.grid
    found = [*comparison.remarks]
    found += [
        f"{key}: the test loss is not finite" for key, cell in comparison.cells.items() if not _is_finite(cell.loss)
    ]
    for target, size in comparison.num_test_examples.items():
        if size < FEWEST_TEST_EXAMPLES:
            told = (
                "one test example has no interval" if size == 1 else f"intervals of {size} test examples are too narrow"
            )
            found.append(f"{target}: {told}; give at least {FEWEST_TEST_EXAMPLES}")
    if comparison.outside:
        found.append(
            f"{len(comparison.outside)} finished cells are not of this comparison and were left out, such as"
            f" {comparison.outside[0]}"
        )
    if absent := [method for method in ALWAYS if method not in grid.methods]:
        found.append(f"{', '.join(absent)}: not among the methods of this comparison")
    for budget in grid.budgets:
        found += _of_targets(comparison, budget)
        for entry in comparison.entries[budget]:
            found += _of_seeds(entry, len(grid.seeds))
        found += _of_recovered(comparison, budget)
    return found


def _is_finite(value: float) -> bool:
    return bool(np.isfinite(value))


def _of_targets(comparison: Comparison, budget: str) -> Iterator[str]:
    covered, chosen = comparison.mean_targets[budget], comparison.recovered_targets[budget]
    if 0 < len(covered) < len(comparison.grid.targets):
        yield f"{budget}: the mean is over {', '.join(covered)} alone; on other targets {RANDOM} is missing"
    if len(chosen) < len(covered):
        yield f"{budget}: R on the mean is over {', '.join(chosen) or 'no target'} alone"


def _of_seeds(entry: Entry, num_seeds: int) -> Iterator[str]:
    fewer: dict[str, list[str]] = {}
    for target, part in entry.by_target.items():
        seeds = part.to_random.seeds[target] if part.to_random else ()
        if entry.method != RANDOM and 0 < len(seeds) < num_seeds:
            fewer.setdefault(", ".join(map(str, seeds)), []).append(target)
    if fewer:
        told = "; ".join(f"{seeds} on {', '.join(targets)}" for seeds, targets in fewer.items())
        compared = f"{entry.method} is compared with {RANDOM} on the seeds that both have"
        if entry.method == FULL:
            compared = f"{FULL}, the mean of all its seeds, is compared with {RANDOM} on those that it has"
        yield f"{entry.budget}: {compared}: {told}"
    for part in _parts(entry):
        against = part.to_random
        if against and against.verdict != UNCLEAR and against.num_agreeing < against.num_seeds:
            where = "the mean over targets" if part is entry.mean else part.targets[0]
            yield (
                f"{entry.budget}: {entry.method} is {against.verdict} than {RANDOM} on {where} when seeds are averaged"
                f" but, each taken alone, with only {against.num_agreeing} of {against.num_seeds} seeds"
            )


def _of_recovered(comparison: Comparison, budget: str) -> Iterator[str]:
    if FULL not in comparison.grid.methods:
        return
    reasons: dict[tuple[str, str], None] = {}
    for entry in comparison.entries[budget]:
        for part in _parts(entry):
            where = "the mean over targets" if part is entry.mean else part.targets[0]
            if part.num_done and part.recovered.reason:
                reasons[where, part.recovered.reason] = None
    for where, reason in reasons:
        yield f"{budget}: no R on {where}: {reason}"


def _parts(entry: Entry) -> list[Part]:
    """On the mean over targets and on each; of one target that alone, for the mean says the same."""
    of_targets = list(entry.by_target.values())
    return of_targets if len(of_targets) == 1 else [entry.mean, *of_targets]
