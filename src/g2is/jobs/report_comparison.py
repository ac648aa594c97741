"""`g2is report` of a comparison: the page of its tables, its losses, and the rows that only one method took."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from g2is.comparison.cells import Cell, read_cell
from g2is.comparison.evidence import Comparison, compare_cells
from g2is.comparison.files import JSON
from g2is.comparison.grid import Grid
from g2is.comparison.overlap import mean_overlap
from g2is.comparison.table import (
    Block,
    cost_block,
    grid_lines,
    legend,
    mean_block,
    pair_blocks,
    progress_line,
    summary,
    target_block,
)
from g2is.config.commands import SETTINGS
from g2is.config.compare import CompareConfig
from g2is.errors import StoreError
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources
from g2is.jobs.report import REPORT
from g2is.jobs.report_texts import turns_of
from g2is.methods import FULL, FULL_CUT, RANDOM, UNTUNED
from g2is.progress import Reporter
from g2is.report.comparison import MOST_ALONE, Alike, Alone, Compared, Losses, Table, alone, comparison_data
from g2is.report.page import as_page
from g2is.report.shown import Turns
from g2is.store.digests import damaged_files, record_digests
from g2is.store.files import read_json, write_text
from g2is.store.lock import locked

_UNCHOSEN = (UNTUNED, RANDOM, FULL, FULL_CUT)


def report_comparison(config: CompareConfig, path: Path, out: Path | None, reporter: Reporter) -> Path:
    """Write the page of the comparison in the folder `path`, of the cells that are there; returns where it lies.

    Raises StoreError where there is no finished cell, or one is damaged.
    """
    page = path / REPORT if out is None else out
    with ExitStack() as held:
        if os.access(path, os.W_OK):
            held.enter_context(locked(path, "comparison"))
        elif out is None:
            raise StoreError(f"{path}: expected a folder that can be written to, found none; name a place with --out")
        with reporter.stage("report", "rows") as progress:
            comparison, remarks = _comparison(config, path)
            found = _compared(config, path, comparison, remarks)
            wanted = {int(row) for of in found.alone for row in of.rows[:MOST_ALONE]}
            texts: dict[int, tuple[str, str, Turns]] = {}
            for example in read_examples(find_sources(config.pool), config.examples):
                if example.row in wanted:
                    texts[example.row] = (example.id, example.source, turns_of(example.conversation))
                    progress(len(texts), len(wanted))
            write_text(page, as_page(comparison_data(found, texts)))
        if out is None:
            record_digests(path, [REPORT])
    return page


def _comparison(config: CompareConfig, path: Path) -> tuple[Comparison, list[str]]:
    """The comparison of the cells that are there, and what its own tables say of it."""
    places = sorted((path / "cells").rglob("*.json"))
    if not places or not (path / JSON).exists():
        raise StoreError(f"{path}: expected a comparison with a finished cell, found none; give `g2is compare` again")
    if damaged := damaged_files(path, [place.relative_to(path).as_posix() for place in places]):
        raise StoreError(
            f"{path / damaged[0]}: expected what the comparison wrote, found it changed. Put it back, or make it"
            f" anew with `g2is verify {path} --repair`"
        )
    kept = read_json(path / JSON)
    grid = Grid(tuple(config.all_methods), tuple(config.targets), config.budgets, tuple(range(config.num_seeds)))
    cells: list[Cell] = [read_cell(place) for place in places]
    comparison = compare_cells(cells, grid, kept["num_pool_rows"], kept["settings"], kept["environment"])
    return comparison, kept["notes"]


def _compared(config: CompareConfig, path: Path, comparison: Comparison, remarks: list[str]) -> Compared:
    grid = comparison.grid
    tables = [
        block
        for budget in grid.budgets
        for block in (
            mean_block(comparison, budget),
            *(target_block(comparison, budget, target) for target in grid.targets),
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
        notes=remarks,
        summary=_table(summary(comparison)),
        tables=[_table(block) for block in (*tables, *pair_blocks(comparison))],
        losses=list(_losses(comparison)),
        alike=list(_alike(comparison)),
        alone=list(_alone(comparison, methods)),
        command=f"g2is run {path / SETTINGS} --out {path}-again",
        environment=comparison.environment,
        settings=comparison.settings,
    )


def _table(block: Block) -> Table:
    return Table(block.title, block.columns, [(row.cells, row.kind) for row in block.rows])


def _losses(comparison: Comparison) -> Iterator[Losses]:
    for budget in comparison.grid.budgets:
        for target in comparison.grid.targets:
            parts = [(entry.method, entry.by_target[target].loss) for entry in comparison.entries[budget]]
            found = [(method, loss.value, loss.low, loss.high) for method, loss in parts if loss is not None]
            if found:
                yield Losses(budget, target, sorted(found, key=lambda of: of[1]))


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
