"""Makes the cells of a comparison: chooses rows, has them tuned on and tested, and reads what came of it.

In one process a cell is made after the other. Where several work, all rows are chosen first; then each tuning and its
tests is a job (`trial.py`), and whoever is free does the next. Both make the same cells.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from g2is.comparison.cells import Cell, Key
from g2is.engine.job import Engine
from g2is.engine.processes import FailedJobsError
from g2is.errors import ConfigError, FingerprintError, InputError, ModelError, SelectionError
from g2is.jobs.cluster import with_dtype
from g2is.jobs.comparison_work import work_of
from g2is.jobs.engines import num_workers, open_engines
from g2is.jobs.overall import Overall
from g2is.jobs.run_folder import SUMMARY
from g2is.jobs.select import run
from g2is.jobs.stages import OF_SELECTING
from g2is.jobs.trial import TrialJob
from g2is.jobs.trial_worker import open_trial_worker
from g2is.jobs.trials import Trials, represented, run_config, seconds_by_stage
from g2is.methods import FULL, FULL_CUT, RANDOM, UNTUNED
from g2is.progress import Reporter, counter
from g2is.store.draw import random_order
from g2is.store.files import remove

_OF_A_METHOD = (ConfigError, InputError, ModelError, SelectionError)  # what keeps no other from being compared


@dataclass(frozen=True)
class Chosen:
    """What a cell tunes on: `rows` (n,) int64 record numbers, None for no tuning; its passes; seconds by stage."""

    rows: np.ndarray | None
    epochs: int
    seconds: dict[str, float]


def make_cells(
    trials: Trials, missing: Mapping[int, Key], num_planned: int, reporter: Reporter
) -> Generator[tuple[Key, Cell | str], None, None]:
    """Make the cells that are `missing`, by their number of `num_planned`: each as it is made, or why it cannot be.

    Raises what keeps all methods from being compared.
    """
    execution = trials.config.execution
    by_workers = execution.engine != "local" or min(num_workers(execution, trials.config.model), len(missing)) > 1
    make = _make_by_workers if by_workers else _make_here
    yield from make(trials, missing, num_planned, reporter)


def _make_here(
    trials: Trials, missing: Mapping[int, Key], num_planned: int, reporter: Reporter
) -> Generator[tuple[Key, Cell | str], None, None]:
    if not missing:
        return
    work = work_of(trials, missing.values())
    with reporter.stage("compare", "tokens") as progress:
        overall = Overall(reporter, progress, work, trials.config.evaluation.generate)
        for number, key in missing.items():
            reporter.notice(f"cell {number} of {num_planned}: {key}")
            with overall.cell(key):
                made: Cell | str
                try:
                    chosen = choose(trials, key, overall)
                    job = job_of(trials, number, key, chosen)
                    trials.bench.make(job, overall)
                except _OF_A_METHOD as error:
                    made = _reason(key, error, reporter)
                else:
                    made = cell_of(trials, key, chosen, job)
            yield key, made


def _make_by_workers(
    trials: Trials, missing: Mapping[int, Key], num_planned: int, reporter: Reporter
) -> Generator[tuple[Key, Cell | str], None, None]:
    jobs: dict[str, TrialJob] = {}
    served: dict[str, list[tuple[int, Key, Chosen]]] = {}
    work = {key: replace(of, tune=0.0, tests={}) for key, of in work_of(trials, missing.values()).items()}
    with reporter.stage("choose rows", "tokens") as progress:
        overall = Overall(reporter, progress, work, trials.config.evaluation.generate)
        for number, key in missing.items():
            reporter.notice(f"choosing rows for cell {number} of {num_planned}: {key}")
            with overall.cell(key):
                try:
                    chosen = choose(trials, key, overall)
                except _OF_A_METHOD as error:
                    reason = _reason(key, error, reporter)
                else:
                    reason = ""
            if reason:
                yield key, reason
                continue
            job = job_of(trials, number, key, chosen)
            if (same := jobs.get(job.folder)) is not None:  # no two processes may work in one folder
                targets = tuple(dict.fromkeys((*same.targets, *job.targets)))
                job = replace(same, targets=targets, cells=f"{same.cells}; {job.cells}")
            jobs[job.folder] = job
            served.setdefault(job.folder, []).append((number, key, chosen))
    if not jobs:
        return
    total = sum(sum(trials.bench.tokens(job).values()) for job in jobs.values())
    with _workers(trials, len(jobs), reporter) as engine, reporter.stage("tune and test", "tokens") as progress:
        try:
            for job in engine(counter(total, progress)).run(jobs.values()):
                for number, key, chosen in served[job.folder]:
                    reporter.notice(f"cell {number} of {num_planned} is made: {key}")
                    yield key, cell_of(trials, key, chosen, job)
        except FailedJobsError as error:
            for job, reason in error.reasons.items():
                for _, key, _ in served[job.folder]:
                    reporter.notice(f"{key}: not done, going on without it: {reason}")
                    yield key, reason


def _workers(
    trials: Trials, num_jobs: int, reporter: Reporter
) -> AbstractContextManager[Callable[[Callable[[int], None]], Engine[TrialJob]]]:
    """Processes or a cluster for so many jobs: what gives the engine, by who is told of tokens done."""
    config = trials.config
    text = with_dtype(config, trials.bench.prepared.identity).model_dump_json()
    open_on = partial(open_trial_worker, text)
    return open_engines(config.execution, config.model, open_on, config.out, num_jobs, reporter.notice, at_once=1)


def _reason(key: Key, error: Exception, reporter: Reporter) -> str:
    """Why a cell cannot be made; where none could be without it, `error` is raised."""
    if key.method in (UNTUNED, RANDOM):  # each table needs these; what they cannot do no method can
        raise type(error)(f"{key}: {error}") from None
    reporter.notice(f"{key}: not done, going on without it: {error}")
    return str(error)


def choose(trials: Trials, key: Key, reporter: Reporter) -> Chosen:
    """The rows of a cell; what they are chosen by is made in the comparison's store, if it is not there.

    Raises what `run` does.
    """
    config = trials.config
    epochs = config.tuning.epochs
    if key.method == UNTUNED:
        return Chosen(None, epochs, {})
    if key.method == FULL:
        return Chosen(trials.bench.pool.rows, epochs, {})
    assert key.seed is not None
    assert key.budget is not None
    if key.method == FULL_CUT:
        # the first steps of a pass over the full pool in random order: a draw of as many rows, each seen once
        like, pool = _select(trials, key._replace(method=RANDOM), reporter).rows, trials.bench.pool
        assert like is not None
        num_steps = epochs * -(-len(like) // config.tuning.batch_size)
        num_drawn = min(len(pool), num_steps * config.tuning.batch_size)
        drawn = random_order(pool.keys, key.seed, FULL_CUT)[:num_drawn]
        return Chosen(pool.rows[np.sort(drawn)], 1, {})
    return _select(trials, key, reporter)


def _select(trials: Trials, key: Key, reporter: Reporter) -> Chosen:
    """The selection of a cell, in a run folder of its own; a representation costs what it took when it was made."""
    of_cell = run_config(trials.config, key, [key.target])
    rows = represented(of_cell, key)
    if rows in trials.broken:
        raise trials.broken[rows]
    try:
        try:
            results = run(of_cell, "walk", reporter, trials.own, trials.seen)
        except FingerprintError:
            remove(of_cell.out)  # of a method that has no cell yet, and was given other settings since
            results = run(of_cell, "walk", reporter, trials.own, trials.seen)
    except ModelError as error:  # a warm-up that diverges would do so for hours again, cell by cell
        trials.broken[rows] = error
        raise
    except SelectionError:  # the rows are made: whoever selects from them next finds out what they took
        if (of_cell.out / SUMMARY).exists():
            trials.keep_cost(rows, of_cell.out)
        raise
    assert results.selection is not None
    taken = seconds_by_stage(of_cell.out)  # in a sitting that was stopped before the cell was made, too
    seconds = {"select": round(sum(taken.get(stage, 0.0) for stage in OF_SELECTING), 2)}
    represent = trials.keep_cost(rows, of_cell.out)
    if represent is not None:
        seconds["represent"] = represent
    return Chosen(np.sort(results.selection.rows), trials.config.tuning.epochs, seconds)


def job_of(trials: Trials, number: int, key: Key, chosen: Chosen) -> TrialJob:
    """The tuning and the tests of a cell."""
    # what is not chosen for a target is tested on all while the model is there
    targets = tuple(trials.config.targets) if key.method in (RANDOM, FULL, FULL_CUT) else (key.target,)
    if chosen.rows is None:
        return trials.bench.job(number, str(key), targets, None, chosen.epochs, None)
    rows = None if key.method == FULL else np.searchsorted(trials.bench.pool.rows, chosen.rows)
    return trials.bench.job(number, str(key), targets, rows, chosen.epochs, key.seed)


def cell_of(trials: Trials, key: Key, chosen: Chosen, job: TrialJob) -> Cell:
    """The cell that came of its job, which is done."""
    tested = trials.bench.tested(job, key.target)
    return Cell(
        *key,
        losses=tested.evaluation.losses,
        num_learned=tested.evaluation.num_learned,
        metrics=tested.evaluation.metrics,
        rows=None if key.method == FULL else chosen.rows,
        num_tokens=trials.bench.tokens_tuned_on(job),
        num_steps=tested.num_steps,
        seconds={**chosen.seconds, **tested.seconds},
    )
