"""A comparison as tables of text, which every renderer shows in its own way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from g2is.comparison.contrasts import Contrast
from g2is.comparison.evidence import Comparison, Part, Range
from g2is.comparison.overlap import mean_overlap
from g2is.comparison.statistics import BETTER, INTERVAL_FRACTION, UNCLEAR, WORSE, Estimate
from g2is.methods import ALWAYS, FULL, RANDOM, UNTUNED

MISSING = "–"
_STAGES = ("represent", "select", "tune")  # of a cell's seconds, those that differ by method
_OVER_SEEDS = "over seeds"
_TITLES = {"rouge_l": "ROUGE-L"}
_AROUND = f"[{INTERVAL_FRACTION:.0%}]"

_LEGEND = (
    f"{_AROUND}: percentile interval of a paired bootstrap over test examples. It does not cover the chance of a seed:"
    f" see {_OVER_SEEDS}.",
    f"{_OVER_SEEDS}: the lowest and highest value, that of ÷ random by random rows of the same seed; one seed has none,"
    " and what is better with it need not be with another.",
    "÷ random: test loss divided by that of random, averaged over targets; below 1 is better.",
    "− random: test loss minus that of random, in nats per answer token; below 0 is better.",
    "verdict: better or worse where the interval of ÷ random is clear of 1, unclear where it is not.",
    "R: (random − method) / (random − full), the part of the full pool's gain over random that is recovered; on the"
    " mean over targets each loss is divided by random's.",
    "full: tuned on all of the pool, the mean of all its seeds; full-cut: one pass over rows of it drawn anew, as many"
    " as take the steps that a selection of that budget takes (at most all), under a schedule that ends with them.",
    "rows, tokens: those of the selection, each counted once however many passes; steps: of the optimizer.",
    "stability: rows that selections of two seeds share over rows that either has (Jaccard), and the same by chance. It"
    " is 1 where a selection has no seed (hidden states, embeddings, BM25, TACS): a seed is that of the tuning alone.",
    "represent s: seconds in which the representation of the whole pool was made, once for all that use it; select s"
    " and tune s: of a cell, on the machine below.",
)
_OF_METRICS = (
    "{}: means over the test examples they apply to; higher is better. An interval without width says that all examples"
    " have the same value, no more."
)
_OF_PAIRS = (
    "against each other: the difference of ÷ random, below 0 if the method of the line is better; (unclear) where its"
    " interval is not clear of 0, (1 of 3 seeds) where it is and not every seed, taken alone, says so."
)


@dataclass(frozen=True)
class Row:
    """A line of a table: its cells, the first a method's name; `kind` is better, worse, baseline or empty."""

    cells: tuple[str, ...]
    kind: str = ""


@dataclass(frozen=True)
class Block:
    """One table: its title, the titles of its columns, its lines."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]


def progress_line(comparison: Comparison) -> str:
    """How many of the planned cells are done."""
    num_done = len(comparison.cells)
    num_planned = num_done + len(comparison.missing)
    return f"{num_done:,} of {num_planned:,} cells done"


def grid_lines(comparison: Comparison) -> list[str]:
    """What was compared, a line for each thing."""
    grid, sizes = comparison.grid, comparison.num_test_examples
    targets = ", ".join(
        f"{target} ({sizes[target]:,} test examples)" if target in sizes else target for target in grid.targets
    )
    of_all = " of all rows read" if any(budget.endswith("%") for budget in grid.budgets) else ""
    return [
        f"targets: {targets}",
        f"budgets: {', '.join(grid.budgets)}{of_all}",
        f"rows: {comparison.num_pool_rows:,} of the pool that can be selected",
        f"seeds: {', '.join(map(str, grid.seeds))}",
        f"intervals: {comparison.num_resamples:,} resamples of the test examples, seed {comparison.seed}",
    ]


def legend(comparison: Comparison) -> list[str]:
    """How to read the tables, a line for each thing."""
    metrics = dict.fromkeys(name for cell in comparison.cells.values() for name in cell.means())
    names = [_metric_title(name) for name in metrics]
    return [*_LEGEND, *([_OF_METRICS.format(", ".join(names))] if names else []), _OF_PAIRS]


def summary(comparison: Comparison) -> Block:
    """One line a budget and method: the mean over targets, narrow enough for a README."""
    entries = [entry for budget in comparison.grid.budgets for entry in comparison.entries[budget]]
    under_way = bool(comparison.missing)
    rows = []
    for entry in entries:
        part = entry.mean
        relative, told, _ = _headline(part, entry.method, "")
        of_recovered = _recovered(entry.method, part).partition(" ")[0]
        cells = (entry.budget, entry.method, relative, between(part.relative_range), told, of_recovered)
        rows.append(Row((*cells, *([_done(part)] if under_way else [])), _kind(entry.method, part)))
    columns = ("budget", "method", f"÷ random {_AROUND}", _OVER_SEEDS, "verdict", "R")
    return Block("Summary", (*columns, *(["cells"] if under_way else [])), rows)


def result_blocks(comparison: Comparison, budget: str) -> list[Block]:
    """What methods came to at a budget: each target's table, and of several the mean over them, which comes first.

    With one target there is one table: the mean over it says the same.
    """
    of_targets = [target_block(comparison, budget, target) for target in comparison.grid.targets]
    return of_targets if len(of_targets) == 1 else [mean_block(comparison, budget), *of_targets]


def mean_block(comparison: Comparison, budget: str) -> Block:
    """Each method on the mean over targets."""
    over, entries = comparison.mean_targets[budget], comparison.entries[budget]
    title = f"{budget}: mean over {', '.join(over)}" if over else f"{budget}: mean over targets"
    columns = ("method", f"÷ random {_AROUND}", "verdict", f"R {_AROUND}", _OVER_SEEDS, f"− random {_AROUND}")
    rows = {
        entry.method: (
            *_headline(entry.mean, entry.method, _recovered(entry.method, entry.mean)),
            between(entry.mean.relative_range),
            _difference(entry.method, entry.mean),
        )
        for entry in entries
    }
    return _block(title, columns, rows, {entry.method: entry.mean for entry in entries})


def target_block(comparison: Comparison, budget: str, target: str) -> Block:
    """Each method on one target, in the order of the mean over targets; of the only one, ÷ random as well."""
    parts = {entry.method: entry.by_target[target] for entry in comparison.entries[budget]}
    is_only = len(comparison.grid.targets) == 1
    relative = (f"÷ random {_AROUND}",) if is_only else ()
    columns = ("method", f"loss {_AROUND}", *relative, f"− random {_AROUND}", "verdict", _OVER_SEEDS, f"R {_AROUND}")
    rows = {
        method: (
            interval(part.loss),
            *(_headline(part, method, "")[:1] if is_only else ()),
            _difference(method, part),
            verdict_text(part, method),
            between(part.loss_range),
            _recovered(method, part),
        )
        for method, part in parts.items()
    }
    return _block(f"{budget}: {target}, nats per answer token", columns, rows, parts)


def cost_block(comparison: Comparison, budget: str) -> Block:
    """What each method's cells cost, means over them, and how stable its selections are over seeds."""
    entries = comparison.entries[budget]
    stages = [stage for stage in _STAGES if any(stage in entry.mean.seconds for entry in entries)]
    rows = []
    for entry in entries:
        part, stable = entry.mean, entry.mean.stability
        counts = (number(value, 0) for value in (part.num_rows, part.num_tokens, part.num_steps))
        seconds = (number(part.seconds.get(stage), 1) for stage in stages)
        alike = (number(value, 3) for value in ((stable.jaccard, stable.chance_jaccard) if stable else (None, None)))
        rows.append(Row((entry.method, *counts, *seconds, *alike), "baseline" if entry.method in ALWAYS else ""))
    columns = ("method", "rows", "tokens", "steps", *(f"{stage} s" for stage in stages), "stability", "by chance")
    return Block(f"{budget}: cost of a cell, and stability over seeds", columns, rows)


def pair_blocks(comparison: Comparison) -> list[Block]:
    """For each budget how each method does against each other one on the mean over targets."""
    found = []
    for budget in comparison.grid.budgets:
        over = comparison.mean_targets[budget]
        values = {
            (pair.method, pair.other): (pair.contrast.relative.value, _doubt(pair.contrast))
            for pair in comparison.pairs
            if pair.budget == budget and pair.targets == over
        }
        values |= {(other, method): (-value, doubt) for (method, other), (value, doubt) in values.items()}
        compared = {method for pair in values for method in pair}
        methods = [entry.method for entry in comparison.entries[budget] if entry.method in compared]
        rows = [
            Row((one, *(_against(*values[one, other]) if (one, other) in values else "" for other in methods)))
            for one in methods
        ]
        if methods:
            found.append(Block(f"{budget}: method of the line minus method of the column", ("", *methods), rows))
    return found


def overlap_blocks(comparison: Comparison) -> list[Block]:
    """For each budget how much two methods' selections share, the mean over targets."""
    found = []
    for budget in comparison.grid.budgets:
        of_budget = [overlap for (of, _), overlap in comparison.overlaps.items() if of == budget]
        mean = mean_overlap(of_budget)
        if mean.methods:
            rows = [
                Row((method, *(number(value, 2) for value in values)))
                for method, values in zip(mean.methods, mean.jaccard.tolist(), strict=True)
            ]
            found.append(Block(f"{budget}: rows in both over rows in either (Jaccard)", ("", *mean.methods), rows))
    return found


def _block(
    title: str, columns: tuple[str, ...], rows: Mapping[str, tuple[str, ...]], parts: Mapping[str, Part]
) -> Block:
    """`rows` by method, with the metrics that there are, and how many cells are done unless all are."""
    metrics = list(dict.fromkeys(name for part in parts.values() for name in part.metrics))
    under_way = any(part.num_done < part.num_planned for part in parts.values())
    lines = []
    for method, cells in rows.items():
        part = parts[method]
        of_metrics = [interval(part.metrics.get(name)) for name in metrics]
        lines.append(Row((method, *cells, *of_metrics, *([_done(part)] if under_way else [])), _kind(method, part)))
    titles = [f"{_metric_title(name)} {_AROUND}" for name in metrics]
    return Block(title, (*columns, *titles, *(["cells"] if under_way else [])), lines)


def _metric_title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))


def _done(part: Part) -> str:
    return f"{part.num_done} of {part.num_planned}" if part.num_planned else MISSING


def verdict_text(part: Part, method: str) -> str:
    """Better or worse than random, or unclear; and whether it is worse than the untuned model."""
    worse = [
        other
        for other, compared in ((RANDOM, part.to_random), (UNTUNED, part.to_untuned))
        if compared and compared.verdict == WORSE
    ]
    if method == RANDOM:
        return f"worse than {UNTUNED}" if worse else ""
    if part.to_random is None or not np.isfinite(part.to_random.relative.value):
        return MISSING
    told = part.to_random.verdict
    if not worse:
        return told
    against_both = [f"{BETTER} than {RANDOM}"] if told == BETTER else [UNCLEAR] if told == UNCLEAR else []
    return ", ".join([*against_both, f"worse than {', '.join(worse)}"])


def number(value: float | None, digits: int) -> str:
    """A number, or a dash where there is none."""
    if value is None or not np.isfinite(value):
        return MISSING
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(found: Estimate | None, digits: int = 3, sign: str = "") -> str:
    """A value and its interval, with `sign` "+" the sign of each, or a dash."""
    if found is None or not np.isfinite(found.value):
        return MISSING
    value, low, high = (f"{part:{sign}.{digits}f}".replace("-", "−") for part in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]" if np.isfinite(found.low) else value


def between(found: Range | None) -> str:
    """The lowest and highest value over seeds, or a dash."""
    return MISSING if found is None or not np.isfinite(found).all() else f"{found[0]:.3f}–{found[1]:.3f}"


def _headline(part: Part, method: str, of_recovered: str) -> tuple[str, str, str]:
    relative = "1" if method == RANDOM and part.relative else interval(part.relative)
    return relative, verdict_text(part, method), of_recovered


def _difference(method: str, part: Part) -> str:
    return interval(part.to_random.difference if part.to_random and method != RANDOM else None, sign="+")


def _recovered(method: str, part: Part) -> str:
    """R with its interval, which has no width where R is 0 or 1 by its definition."""
    if method in (RANDOM, FULL):
        return number(part.recovered.fraction.value, 0)
    return interval(part.recovered.fraction, 2)


def _against(value: float, doubt: str) -> str:
    if not np.isfinite(value):
        return MISSING
    shown = f"{value:+.3f}".replace("-", "−")
    return f"{shown} ({doubt})" if doubt else shown


def _doubt(found: Contrast) -> str:
    if found.verdict == UNCLEAR:
        return UNCLEAR
    return f"{found.num_agreeing} of {found.num_seeds} seeds" if found.num_agreeing < found.num_seeds else ""


def _kind(method: str, part: Part) -> str:
    if method in ALWAYS:
        return "baseline"
    return part.to_random.verdict if part.to_random and part.to_random.verdict != UNCLEAR else ""
