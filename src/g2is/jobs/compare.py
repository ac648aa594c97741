"""`g2is compare`: methods side by side, cell by cell; a stopped comparison goes on with the next cell.

OUT/config.yaml        every setting
OUT/manifest.json      what all cells were made from; methods, budgets and seeds may be added later
OUT/store/seed-S/      the stores: warm-up sample and projection differ by seed. What has no seed lies in seed-0
OUT/selections/        a run folder for each selection: METHOD/TARGET/BUDGET/seed-S
OUT/tuned/             tunings and their tests, by content: selections of the same rows share one
OUT/cells/             a file for each finished cell: METHOD/TARGET/BUDGET/seed-S.json
OUT/comparison.*       the table of the cells so far: Markdown, CSV, JSON
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from g2is.comparison.cells import Cell, Key, key_of, read_cell, write_cell
from g2is.comparison.evidence import Comparison, compare_cells
from g2is.comparison.files import TABLES, write_comparison
from g2is.comparison.grid import Grid
from g2is.config.compare import CompareConfig
from g2is.config.passed_over import passed_over
from g2is.errors import (
    ConfigError,
    FingerprintError,
    G2isError,
    InputError,
    ModelError,
    SelectionError,
    StoreError,
)
from g2is.jobs.custom import BUILT_IN_ONLY, Own
from g2is.jobs.made_from import OF_METHODS, of_method
from g2is.jobs.pinned import pin
from g2is.jobs.select import run
from g2is.jobs.stages import OF_SELECTING
from g2is.jobs.trials import Tested, Trials, open_trials, run_config, seconds_by_stage
from g2is.jobs.work_folder import WorkFolder, open_work
from g2is.machine.environment import environment
from g2is.methods import FULL, FULL_CUT, RANDOM, UNTUNED
from g2is.progress import Reporter, Silent
from g2is.store.digests import damaged_files, record_digests
from g2is.store.draw import random_order
from g2is.store.files import remove
from g2is.store.fingerprint import Fingerprint, flatten


@dataclass(frozen=True)
class _Chosen:
    """Rows to tune on: `rows` (n,) int64 record numbers, None for no tuning; the passes over them; seconds by stage."""

    rows: np.ndarray | None
    epochs: int
    seconds: dict[str, float]


def compare_methods(config: CompareConfig, reporter: Reporter | None = None, own: Own = BUILT_IN_ONLY) -> Comparison:
    """Make every cell that is not there yet, and return the comparison of all. The table is written after each cell.

    A method that cannot select, or whose tuning diverges, `full` too, does not keep the others from being compared.
    Raises a G2isError for everything a user can mend, of such methods when all else is done; finished cells stay.
    """
    reporter = reporter or Silent()
    config = pin(config, reporter)
    with open_work(config.out, config, "comparison") as work:
        with work.removed_on_error():
            trials = open_trials(config, reporter, own)
            made_from = _made_from(work, config, flatten(trials.made_from))
        work.bind(made_from, config)
        grid = Grid(tuple(config.all_methods), tuple(config.targets), config.budgets, tuple(range(config.num_seeds)))
        comparison = _compared(config, grid, trials)
        planned, failed = list(_in_order(config)), {}
        for number, key in enumerate(planned, start=1):
            if not _path(config, key).exists():
                reporter.notice(f"cell {number} of {len(planned)}: {key}")
                try:
                    cell = _cell(config, trials, key, reporter)
                except (ConfigError, InputError, ModelError, SelectionError) as error:
                    if key.method in (UNTUNED, RANDOM):  # each table needs these; what they cannot do no method can
                        raise type(error)(f"{key}: {error}") from None
                    failed[key] = error
                    reporter.notice(f"{key}: not done, going on without it: {error}")
                    continue
                write_cell(_path(config, key), cell)
                record_digests(config.out, [_path(config, key).relative_to(config.out).as_posix()])
                comparison = _compared(config, grid, trials)
        if failed:
            raise G2isError(_describe(failed, config.out))
        return comparison


def _made_from(work: WorkFolder, config: CompareConfig, made_from: Fingerprint) -> dict[str, Any]:
    """What all cells were made from, those of methods that are now left out too.

    Raises FingerprintError where cells that are there were made from something else.
    """
    stored = work.made_from() if work.is_bound else {}
    asked = [RANDOM, *config.methods]
    done = tuple(of_method(name) for name in asked if (config.out / "cells" / name).exists())

    def shared(values: Fingerprint) -> Fingerprint:
        kept = {key: value for key, value in values.items() if not key.startswith(OF_METHODS) or key.startswith(done)}
        return {key: value for key, value in kept.items() if key not in _passed_over(kept, done)}

    if stored:
        work.check_same(shared(stored), shared(made_from), "a comparison")
    of_asked = tuple(map(of_method, asked))  # those without cells may have changed
    return {**{key: value for key, value in stored.items() if not key.startswith(of_asked)}, **made_from}


def _passed_over(made_from: Fingerprint, of_methods: Sequence[str]) -> set[str]:
    """The keys of settings for all methods that a method passes over: once they were kept under each."""
    found = set()
    for of in of_methods:
        settings = {key.removeprefix(of): value for key, value in made_from.items() if key.startswith(of)}
        found |= {of + name for name in passed_over(settings)}
    return found


def _describe(failed: Mapping[Key, G2isError], out: Path) -> str:
    """One message for all cells that failed, each reason once."""
    keys: dict[str, list[Key]] = {}
    for key, error in failed.items():
        keys.setdefault(str(error), []).append(key)
    reasons = [f"{', '.join(map(str, of_reason))}: {reason}" for reason, of_reason in keys.items()]
    return (
        f"{out}: expected every cell to be made, found {len(failed)} that cannot be; {out / 'comparison.md'} has all"
        " others. Mend what follows and give the command again (other settings of model, warm-up or tuning want"
        " another --out), or leave these methods out:\n" + "\n".join(reasons)
    )


def _in_order(config: CompareConfig) -> Iterator[Key]:
    """Cells in the order in which they are made: what is long comes last within its seed."""
    short = [method for method in config.all_methods if method != FULL]
    seen = set()
    for seed in range(config.num_seeds):
        for methods in (short, [FULL]):
            for budget in config.budgets:
                for target in config.targets:
                    for method in methods:
                        key = key_of(method, target, budget, seed)
                        if key not in seen:
                            seen.add(key)
                            yield key


def _cell(config: CompareConfig, trials: Trials, key: Key, reporter: Reporter) -> Cell:
    chosen = _choose(config, trials, key, reporter)
    if chosen.rows is None:
        tested, num_tokens = trials.test_untuned(key.target, reporter), 0
    else:
        assert key.seed is not None
        positions = np.searchsorted(trials.pool.rows, chosen.rows)
        tuning = config.tuning.model_copy(update={"seed": key.seed, "epochs": chosen.epochs})
        # what is not chosen for a target is tested on all while the model is there
        targets = list(config.targets) if key.method in (RANDOM, FULL, FULL_CUT) else [key.target]
        tested = trials.tune_and_test(positions, tuning, targets, reporter)[key.target]
        num_tokens = int(trials.pool.num_tokens[positions].sum())
    return _as_cell(key, tested, None if key.method == FULL else chosen.rows, num_tokens, chosen.seconds)


def _as_cell(key: Key, tested: Tested, rows: np.ndarray | None, num_tokens: int, seconds: dict[str, float]) -> Cell:
    return Cell(
        *key,
        losses=tested.evaluation.losses,
        num_learned=tested.evaluation.num_learned,
        metrics=tested.evaluation.metrics,
        rows=rows,
        num_tokens=num_tokens,
        num_steps=tested.num_steps,
        seconds={**seconds, **tested.seconds},
    )


def _choose(config: CompareConfig, trials: Trials, key: Key, reporter: Reporter) -> _Chosen:
    epochs = config.tuning.epochs
    if key.method == UNTUNED:
        return _Chosen(None, epochs, {})
    if key.method == FULL:
        return _Chosen(trials.pool.rows, epochs, {})
    assert key.seed is not None
    assert key.budget is not None
    if key.method == FULL_CUT:
        # the first steps of a pass over the full pool in random order: a draw of as many rows, each seen once
        like = _select(config, trials, key._replace(method=RANDOM), reporter).rows
        assert like is not None
        num_steps = epochs * -(-len(like) // config.tuning.batch_size)
        num_drawn = min(len(trials.pool), num_steps * config.tuning.batch_size)
        drawn = random_order(trials.pool.keys, key.seed, FULL_CUT)[:num_drawn]
        return _Chosen(trials.pool.rows[np.sort(drawn)], 1, {})
    return _select(config, trials, key, reporter)


def _select(config: CompareConfig, trials: Trials, key: Key, reporter: Reporter) -> _Chosen:
    """The selection of a cell, in a run folder of its own; a representation costs what it took when it was made."""
    of_cell = run_config(config, key, [key.target])
    of_store = of_cell.store_folder, of_cell.selection.representation
    if of_store in trials.broken:
        raise trials.broken[of_store]
    try:
        try:
            results = run(of_cell, "walk", reporter, trials.own)
        except FingerprintError:
            remove(of_cell.out)  # of a method that has no cell yet, and was given other settings since
            results = run(of_cell, "walk", reporter, trials.own)
    except ModelError as error:  # a warm-up that diverges would do so for hours again, cell by cell
        trials.broken[of_store] = error
        raise
    assert results.selection is not None
    taken = seconds_by_stage(of_cell.out)  # in a sitting that was stopped before the cell was made, too
    seconds = {"select": round(sum(taken.get(stage, 0.0) for stage in OF_SELECTING), 2)}
    represent = trials.keep_cost(of_cell.store_folder, of_cell.selection.representation, of_cell.out)
    if represent is not None:
        seconds["represent"] = represent
    return _Chosen(np.sort(results.selection.rows), config.tuning.epochs, seconds)


def _compared(config: CompareConfig, grid: Grid, trials: Trials) -> Comparison:
    places = sorted((config.out / "cells").rglob("*.json"))  # left out ones too
    if damaged := damaged_files(config.out, [place.relative_to(config.out).as_posix() for place in places]):
        raise StoreError(
            f"{config.out / damaged[0]}: expected what the comparison wrote, found it changed. Put it back, or make it"
            f" anew with `g2is verify {config.out} --repair`"
        )
    cells = [_read_own(config, place) for place in places]
    settings = config.model_dump(mode="json", exclude={"command", "out"})
    comparison = compare_cells(cells, grid, len(trials.pool), settings, environment(), trials.remarks)
    write_comparison(config.out, comparison)
    record_digests(config.out, TABLES)
    return comparison


def _read_own(config: CompareConfig, path: Path) -> Cell:
    """The cell in the file `path`. Raises StoreError if it is another one than belongs there."""
    cell = read_cell(path)
    if _path(config, cell.key) != path:
        raise StoreError(
            f"{path}: expected the cell that its place tells, found {cell.key}. Remove the file and give the command"
            " again: that cell alone is made anew"
        )
    return cell


def _path(config: CompareConfig, key: Key) -> Path:
    return key.place(config.out / "cells").with_suffix(".json")
