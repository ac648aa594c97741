"""The page of a comparison: its tables, its losses, and the rows that only one method took."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import isfinite
from pathlib import Path

import numpy as np

from g2is.comparison.evidence import Comparison
from g2is.comparison.overlap import mean_overlap
from g2is.comparison.table import (
    Block,
    cost_block,
    grid_lines,
    legend,
    pair_blocks,
    progress_line,
    result_blocks,
    summary,
)
from g2is.config.commands import run_again
from g2is.config.compare import CompareConfig
from g2is.examples.read import read_examples
from g2is.examples.sources import describe, find_sources, source_sha256
from g2is.jobs.report_texts import turns_of
from g2is.jobs.work_folder import MANIFEST
from g2is.methods import FULL, FULL_CUT, RANDOM, UNTUNED
from g2is.progress import Reporter
from g2is.report.comparison import MOST_ALONE, Alike, Alone, Compared, Losses, Table, alone, comparison_data
from g2is.report.page import as_page
from g2is.report.shown import Turns
from g2is.store.files import read_json, write_text

_UNCHOSEN = (UNTUNED, RANDOM, FULL, FULL_CUT)


def write_comparison_page(
    page: Path, config: CompareConfig, path: Path, comparison: Comparison, remarks: Sequence[str], reporter: Reporter
) -> None:
    """Write `page` of the comparison in the folder `path`; `remarks` are what its own tables say of it.

    Reads the pool for the texts of rows that one method alone took, which are left out where it is another by now.
    """
    with reporter.stage("report", "rows") as progress:
        found, pool = _compared(config, path, comparison, remarks), find_sources(config.pool)
        if found.alone and source_sha256(pool) != read_json(path / MANIFEST)["pool_sha256"]:
            why = f"{describe(pool)} has changed since: the rows that only one method took are left out"
            reporter.notice(f"{page}: {why}")
            found = replace(found, notes=[*found.notes, why], alone=[])
        wanted = {int(row) for of in found.alone for row in of.rows[:MOST_ALONE]}
        texts: dict[int, tuple[str, str, Turns]] = {}
        for example in read_examples(pool, config.examples) if wanted else ():
            if example.row in wanted:
                texts[example.row] = (example.id, example.source, turns_of(example.conversation))
                progress(len(texts), len(wanted))
        write_text(page, as_page(comparison_data(found, texts)))


def _compared(config: CompareConfig, path: Path, comparison: Comparison, remarks: Sequence[str]) -> Compared:
    grid = comparison.grid
    tables = [
        block
        for budget in grid.budgets
        for block in (
            *result_blocks(comparison, budget),
            cost_block(comparison, budget),
        )
    ]
    methods = [method for method in grid.methods if method not in _UNCHOSEN]
    facts = [line.split(": ", 1) for line in grid_lines(comparison)]
    return Compared(
        title=f"{len(methods)} methods compared" if len(methods) != 1 else f"{methods[0]} compared",
        subtitle=f"{', '.join(methods)}; {progress_line(comparison)}",
        facts=[*((name, told) for name, told in facts), ("pool", ", ".join(config.pool)), ("model", config.model.name)],
        legend=legend(comparison),
        notes=list(remarks),
        summary=as_table(summary(comparison)),
        tables=[as_table(block) for block in (*tables, *pair_blocks(comparison))],
        losses=[
            found
            for budget, target in product(grid.budgets, grid.targets)
            if (found := losses_of(comparison, budget, target)).methods
        ],
        alike=list(_alike(comparison)),
        alone=list(_alone(comparison, methods)),
        command=run_again(path),
        environment=comparison.environment,
        settings=comparison.settings,
    )


def as_table(block: Block) -> Table:
    """The block as the page shows it."""
    return Table(block.title, block.columns, [(row.cells, row.kind) for row in block.rows])


def losses_of(comparison: Comparison, budget: str, target: str) -> Losses:
    """The loss of each method that has one, with its interval, lowest first, and last those that are not finite.

    A method that lacks seeds says so: one seed may be harder than another.
    """
    found = []
    for entry in comparison.entries[budget]:
        part = entry.by_target[target]
        if (loss := part.loss) is not None:
            whole = part.num_done == part.num_planned
            name = entry.method if whole else f"{entry.method} ({part.num_done} of {part.num_planned} seeds)"
            found.append((name, loss.value, loss.low, loss.high))
    return Losses(budget, target, sorted(found, key=lambda of: (not isfinite(of[1]), of[1])))


def _alike(comparison: Comparison) -> Iterator[Alike]:
    for budget in comparison.grid.budgets:
        of_budget = [overlap for (of, _), overlap in comparison.overlaps.items() if of == budget]
        mean = mean_overlap(of_budget) if of_budget else None
        if mean is not None and mean.methods:
            yield Alike(budget, mean.methods, mean.jaccard)


def _alone(comparison: Comparison, methods: list[str]) -> Iterator[Alone]:
    """The rows that only one of the methods that choose took, of all seeds."""
    for budget in comparison.grid.budgets:
        for target in comparison.grid.targets:
            taken: dict[str, np.ndarray] = {}
            for key, cell in comparison.cells.items():
                if key.method in methods and (key.budget, key.target) == (budget, target) and cell.rows is not None:
                    taken[key.method] = np.union1d(taken.get(key.method, np.empty(0, np.int64)), cell.rows)
            for method, rows in alone(taken).items():
                yield Alone(budget, target, method, rows)
