"""`g2is compare --dry-run`: which cells are to be made, and how long that takes. Nothing is written."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from g2is.comparison.cells import Key
from g2is.config.commands import check_command
from g2is.config.compare import CompareConfig
from g2is.jobs.compare import made_from, missing_cells
from g2is.jobs.comparison_work import CellWork, work_of
from g2is.jobs.forecast import Forecast, Load, Work, forecast, sampled
from g2is.jobs.measured import to_measure
from g2is.jobs.pace import SECONDS, pace_of_gradients, pace_of_rows, pace_of_tests, pace_of_training, sample_of
from g2is.jobs.pinned import pin
from g2is.jobs.representation import maker_of
from g2is.jobs.trials import Trials, open_trials, run_config
from g2is.jobs.work_folder import WorkFolder
from g2is.methods import GRADIENT, representation_kind
from g2is.model.adapter import attach_adapter
from g2is.progress import Reporter
from g2is.store.fingerprint import flatten


@dataclass(frozen=True)
class ComparisonEstimate:
    """How many cells a comparison has (`num_planned`), those that are to be made by method, and how long that takes.

    Rows and tokens are the pool's; `num_test_rows` by target.
    """

    num_planned: int
    num_missing: Mapping[str, int]
    num_pool_rows: int
    num_pool_tokens: int
    num_test_rows: Mapping[str, int]
    num_parameters: int
    time: Forecast


def estimate_comparison(config: CompareConfig, reporter: Reporter) -> ComparisonEstimate:
    """Read pool and tests and measure passes over them. Raises what the comparison would raise of these and --out."""
    config = pin(config, reporter)
    check_command(config.out, type(config))
    with tempfile.TemporaryDirectory() as scratch:
        # what is read is kept there; the cells and stores that are made already are looked for where they are
        trials = open_trials(config.model_copy(update={"out": Path(scratch)}), reporter)
        made_from(WorkFolder(config.out, new=False), config, flatten(trials.made_from))
        planned, missing = missing_cells(config)
        of_cells = replace(trials, config=config)
        work = list(work_of(of_cells, missing).values())
        num_parameters = sum(of.numel() for of in trials.bench.prepared.model.without_weights().parameters())
        tests = trials.bench.tests
        return ComparisonEstimate(
            num_planned=len(planned),
            num_missing=Counter(key.method for key in missing),
            num_pool_rows=len(trials.bench.pool),
            num_pool_tokens=int(trials.bench.pool.num_tokens.sum()),
            num_test_rows={name: len(test.questions) for name, test in tests.items()},
            num_parameters=num_parameters,
            time=_time(trials, missing, work, num_parameters, reporter)
            if missing
            else Forecast(why_not="there is nothing to do: all cells are made"),
        )


def _time(
    trials: Trials, missing: Sequence[Key], work: Sequence[CellWork], num_parameters: int, reporter: Reporter
) -> Forecast:
    config, bench = trials.config, trials.bench
    rows = sampled(bench.pool, len(bench.pool))
    warm_up, gradients = sum(of.warm_up + of.rounds for of in work), sum(of.gradients for of in work)
    others: Counter[str] = Counter()
    on_targets: Counter[str] = Counter()
    for of in work:
        others[of.rows[0]] += round(of.rows[1])
        on_targets[of.rows[0]] += round(of.tunings)
    others.pop("", None)
    on_targets = +on_targets
    tune = sum(of.tune for of in work)
    tests: Counter[str] = Counter()
    for of in work:
        tests.update(of.tests)
    num_parts = sum(map(bool, (warm_up, gradients, tune))) + len(others) + len(on_targets) + len(tests)
    limit = SECONDS / max(1, num_parts)
    generates = config.evaluation.generate
    device = bench.device.type
    batch_tokens = config.execution.tokens_a_batch(device)

    def measure(load: Load) -> Work:
        found: dict[str, Any] = {}
        for name, num in others.items():
            of_run = run_config(config, _one_of(missing, trials, name), list(config.targets))
            prepared = replace(bench.prepared, config=of_run)
            arrays_of = maker_of(name, prepared, reporter, trials.own.representation).open()
            found[f"rows of {name}"] = (pace_of_rows(arrays_of, rows, batch_tokens, limit), float(num))
            del arrays_of
        model = load()
        for target, num in tests.items():
            test = bench.tests[target]
            some = sample_of(len(test.questions)).tolist()
            pace = pace_of_tests(
                *(model, bench.prepared.tokenizer, test.table.token_rows(some), [test.questions[i] for i in some]),
                *(config.evaluation, config.execution.tokens_a_batch(device, generates=generates), limit),
            )
            found["tests" if len(tests) == 1 else f"tests of {target}"] = (pace, float(num))
        adapted = attach_adapter(model, config.tuning.lora, 0, "tuning")
        if tune:
            found["tunings"] = (pace_of_training(adapted, config.tuning, rows, limit), tune)
        for name, num in on_targets.items():  # by the adapter that is there: another rank takes much the same
            settings = run_config(config, _one_of(missing, trials, name), list(config.targets)).representation
            first = representation_kind(name).tunings(settings)[0]
            found[f"tunings for rows of {name}"] = (pace_of_training(adapted, first, rows, limit), float(num))
        if warm_up or gradients:
            of_run = run_config(config, _one_of(missing, trials, GRADIENT), list(config.targets))
            measured = to_measure(adapted.unload(), of_run)
            factored = config.gradients.is_factored
            found["warm-ups"] = (
                pace_of_training(measured, config.warmup, rows, limit, factored=factored),
                warm_up,
            )
            found["gradients"] = (pace_of_gradients(measured, of_run, rows, limit), gradients)
        return found

    shared = {"tunings", "gradients", "tests", *(f"tests of {target}" for target in tests)}
    with reporter.stage("measure", "passes"):
        return forecast(bench.prepared.model, num_parameters, config.execution, measure, shared)


def _one_of(missing: Sequence[Key], trials: Trials, representation: str) -> Key:
    """A cell whose method looks at rows of this representation: their settings are the same for all of them."""
    config = trials.config
    return next(
        key
        for key in missing
        if key.method in config.methods
        and config.selection_of(key.method, config.budgets[0], 0).representation == representation
    )
