"""How much there is to do for each cell of a comparison, before its rows are chosen: tokens of passes, and test rows.

A bar goes by it (`overall.py`), and `--dry-run` makes minutes of it (`estimate_comparison.py`). Rows that a method is
going to choose are taken to be as long as the pool's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from g2is.comparison.cells import Key
from g2is.errors import SelectionError
from g2is.jobs.costs import COSTS
from g2is.jobs.forecast import work_of_rows
from g2is.jobs.trials import Trials, cost_of, represented, run_config
from g2is.methods import (
    FULL,
    FULL_CUT,
    GRADIENT,
    NONE,
    RANDOM,
    REPRESENTATIONS,
    UNTUNED,
    representation_kind,
    selector_kind,
)
from g2is.selection.budget import read_budget
from g2is.store.files import read_json
from g2is.warmup.seeds import tokens_to_train


@dataclass(frozen=True)
class CellWork:
    """Tokens that a cell goes through, as often as it does: `warm_up`, the `tunings` on the target that rows of another
    representation are made with, the tunings before later `rounds`, `gradients` and `tune` forward and back; those of
    the `rows` of another representation, which has a name, forward alone; and rows that it tests on, by target.

    What is trained several times over says so in `trained`, by the name of its tokens.
    """

    warm_up: float = 0.0
    tunings: float = 0.0
    rounds: float = 0.0
    gradients: float = 0.0
    rows: tuple[str, float] = ("", 0.0)
    tune: float = 0.0
    tests: Mapping[str, int] = field(default_factory=dict)
    trained: Mapping[str, int] = field(default_factory=dict)


def work_of(trials: Trials, keys: Iterable[Key]) -> dict[Key, CellWork]:
    """What each of `keys` has to do, in their order; what several share belongs to the first of them."""
    seen: set[object] = set()
    return {key: _work_of(trials, key, seen) for key in keys}


def _work_of(trials: Trials, key: Key, seen: set[object]) -> CellWork:
    config, pool = trials.config, trials.bench.pool
    in_pool = float(pool.num_tokens.sum())
    for_all = key.method in (RANDOM, FULL, FULL_CUT)  # chosen for no target: tuned once, and tested on all
    targets = tuple(config.targets) if for_all else (key.target,)
    tests = {target: len(trials.bench.tests[target].questions) for target in targets}
    if not _is_first(seen, (key.method, key.budget, key.seed, None if for_all else key.target)):
        return CellWork()
    if key.method == UNTUNED:
        return CellWork(tests=tests)
    tune = _tuned_on(trials, key, in_pool)
    if key.method in (FULL, FULL_CUT):
        return CellWork(tune=tune, tests=tests)
    run = run_config(config, key, [key.target])
    name, costs = run.selection.representation, run.store_folder / COSTS
    in_rounds = run.passes_between_rounds * tune / config.tuning.epochs
    tuned_between = (run.selection.rounds - 1) * run.num_checkpoints
    rows = represented(run, key)
    is_made = costs.exists() and not {cost_of(rows), name}.isdisjoint(read_json(costs))  # by target since 0.2.0
    if name == NONE or is_made or not _is_first(seen, rows):
        return CellWork(rounds=in_rounds, tune=tune, tests=tests, trained={"rounds": tuned_between})
    if name != GRADIENT:
        if name not in REPRESENTATIONS:  # the user's own
            return CellWork(rows=(name, in_pool), tune=tune, tests=tests)
        of = work_of_rows(run, int(in_pool), trials.target_tokens[key.target], 1)
        times = len(representation_kind(name).tunings(run.representation))
        rows_of = (name, float(of.passes))
        return CellWork(tunings=of.tunings, rows=rows_of, tune=tune, tests=tests, trained={"tunings": times})
    return CellWork(
        warm_up=tokens_to_train(run.warmup, run.selection.warmup_seeds, pool.keys, pool.num_tokens),
        rounds=in_rounds,
        gradients=in_pool * run.num_checkpoints,
        tune=tune,
        tests=tests,
        trained={"warm_up": run.selection.warmup_seeds, "rounds": tuned_between},
    )


def _tuned_on(trials: Trials, key: Key, in_pool: float) -> float:
    """Tokens of all passes over the rows that a cell is tuned on."""
    pool, tuning = trials.bench.pool, trials.config.tuning
    if key.method == FULL:
        return in_pool * tuning.epochs
    assert key.budget is not None
    if key.method in trials.config.methods:
        selection = trials.config.selection_of(key.method, key.budget, 0)
        if selector_kind(selection.selector).takes_all:
            return in_pool * tuning.epochs  # but for those that it closes
    try:
        budget = read_budget(key.budget, len(pool), pool.num_tokens)
        share = budget.amount / (len(pool) if budget.unit == "rows" else in_pool)
    except SelectionError:  # a share of all rows read, that is less than a row of those that are left
        share = 1 / len(pool)
    if key.method != FULL_CUT:
        return share * in_pool * tuning.epochs
    num_steps = tuning.epochs * -(-round(share * len(pool)) // tuning.batch_size)
    return min(1.0, num_steps * tuning.batch_size / len(pool)) * in_pool


def _is_first(seen: set[object], what: object) -> bool:
    is_first = what not in seen
    seen.add(what)
    return is_first
