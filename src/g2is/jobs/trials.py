"""Where a comparison's cells are made: one model, one pool, the test rows of every target.

Tunings are kept by content below OUT/tuned/: the same rows tuned on in the same way are tuned on once, whatever method
chose them.

    HASH/training.json, adapter/    as `training/tune.py` writes them; the adapter goes when its tests are done, and is
                                    tuned again if another target asks for it later
    HASH/TARGET.parquet             every test row's loss and metrics (`evaluation/table.py`)
    HASH/seconds.json               what each target's test took
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from g2is.comparison.cells import Key
from g2is.config import Config, TuningConfig
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.config.representation import read_by
from g2is.config.targets import titled
from g2is.errors import ModelError, SelectionError
from g2is.evaluation.rows import Evaluation, evaluate_rows
from g2is.evaluation.table import read_answers, write_answers
from g2is.examples.as_trained import keep_rendering
from g2is.examples.dataset import Examples
from g2is.examples.how_read import how_read
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import make_renderer
from g2is.jobs.custom import BUILT_IN_ONLY, Own
from g2is.jobs.made_from import as_selected, as_stored, digest_of_rows, fingerprints, store_identity
from g2is.jobs.prepare import prepare
from g2is.jobs.read_data import plan_for, read_inputs
from g2is.jobs.stages import OF_REPRESENTING, stage_id
from g2is.jobs.test_rows import TestRows, describe_questions, how_judged, read_test, shared_rows
from g2is.jobs.work_folder import BAD_ROWS
from g2is.methods import GRADIENT, NONE, RANDOM
from g2is.model.adapter import load_adapter, target_modules
from g2is.model.folder import ModelFolder, resolve_device
from g2is.progress import Reporter
from g2is.store.digests import damaged_files, record_digests, record_presence
from g2is.store.files import read_json, remove, write_json, write_json_lines
from g2is.store.fingerprint import flatten
from g2is.store.given import part
from g2is.store.manifest import stored_forms
from g2is.training.tune import ADAPTER, TRAINING, damaged_adapter, finished_tuning, tune

_SECONDS, COSTS = "seconds.json", "costs.json"
OF = "of"  # the key of costs.json that says whose it is


@dataclass(frozen=True)
class Tested:
    """What a tuned model does on a target's (T,) test rows, the optimizer steps it had, and seconds by stage."""

    evaluation: Evaluation
    num_steps: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class Trials:
    """Everything that cells share.

    `made_from` says what results depend on, beside budgets and seeds; `remarks` what readers of them must know of the
    test rows; `keep_beside` what is written beside an adapter that stays; `broken` why a representation of a store
    cannot be made, once that is known.
    """

    config: CompareConfig
    own: Own
    model: ModelFolder
    tokenizer: Any
    device: torch.device
    pool: ExampleTable
    tests: Mapping[str, TestRows]
    made_from: dict[str, Any]
    remarks: Sequence[str]
    keep_beside: Callable[[Path], None] | None = None
    broken: dict[tuple[Path, str], ModelError] = field(default_factory=dict)

    def test_untuned(self, target: str, reporter: Reporter) -> Tested:
        """Test the model as it is."""
        folder = self.config.out / "tuned" / "untuned"
        if not self._is_tested(folder, target, reporter):
            self._test(folder, target, self.model.load(self.device), reporter)
        return self._tested(folder, target, 0, 0.0)

    def tune_and_test(
        self, positions: np.ndarray, tuning: TuningConfig, targets: Sequence[str], reporter: Reporter
    ) -> dict[str, Tested]:
        """Tune on the pool's rows at `positions` (n,) and test on `targets`; what is there already is not done again.

        Raises ModelError if the training diverges.
        """
        folder = self.config.out / "tuned" / self._digest(positions, tuning)
        untested = [target for target in targets if not self._is_tested(folder, target, reporter)]
        model: Any = None
        is_tuned = finished_tuning(folder) is not None
        if not is_tuned or (untested and damaged_adapter(folder)):
            if is_tuned and (folder / ADAPTER).exists():
                reporter.notice(f"{folder / ADAPTER}: found it damaged; it is trained again")
            remove(folder / TRAINING)  # an adapter that was not kept is trained again for another target
            rows = self.pool.token_rows(positions)
            with reporter.stage("tune", "steps") as progress:
                model = tune(
                    *(self.model, rows, folder, tuning, self.config.execution, self.device, progress, reporter.notice),
                    keep_beside=self.keep_beside,
                )
        elif untested:
            model = load_adapter(self.model, folder / ADAPTER, self.device)
        for target in untested:
            self._test(folder, target, model, reporter)
        if not self.config.keep_adapters:
            gone = folder / f".{ADAPTER}.gone"  # else a kill might leave half an adapter for another target to load
            if (folder / ADAPTER).exists():
                remove(gone)
                (folder / ADAPTER).replace(gone)
            remove(gone)
        record = finished_tuning(folder)
        assert record is not None
        return {target: self._tested(folder, target, record["num_steps"], record["seconds"]) for target in targets}

    def keep_cost(self, store: Path, representation: str, run: Path) -> float | None:
        """Seconds that the rows of a representation took in `store`, by the run that made them; None if not known."""
        costs, whose = read_json(store / COSTS) if (store / COSTS).exists() else {}, self._identity(store)
        if costs.pop(OF, whose) != whose:  # another comparison's; those of before do not say whose they are
            costs = {}
        by_stage = seconds_by_stage(run)
        taken = sum(by_stage.get(stage, 0.0) for stage in OF_REPRESENTING)
        if taken > costs.get(representation, 0.0):
            costs[representation] = round(taken, 2)
            write_json(store / COSTS, {**costs, OF: whose})
            record_presence(self.config.out, (store / COSTS).relative_to(self.config.out).as_posix())
        return costs.get(representation, 0.0 if representation == NONE else None)

    def _identity(self, store: Path) -> str:
        return store_identity(flatten(self.made_from), store.name)

    def _digest(self, positions: np.ndarray, tuning: TuningConfig) -> str:
        shared = {key: self.made_from[key] for key in ("model", "examples", "evaluation")}
        made_from = {**shared, "tuning": tuning.model_dump(mode="json"), "tests": self.made_from["tests_sha256"]}
        total = hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=12)
        total.update(self.pool.keys[positions].tobytes())
        return total.hexdigest()

    def _is_tested(self, folder: Path, target: str, reporter: Reporter) -> bool:
        """Whether the answers for `target` are there as they were written; `reporter` is told of damaged ones."""
        answers = f"{target}.parquet"
        if not (folder / answers).exists():
            return False
        if damaged := damaged_files(folder, [answers, _SECONDS]):
            reporter.notice(f"{folder}: found {', '.join(damaged)} damaged; {titled(target)} is tested again")
        for name in damaged:
            remove(folder / name)
        return not damaged and target in read_json(folder / _SECONDS)

    def _test(self, folder: Path, target: str, model: Any, reporter: Reporter) -> None:
        test, begin = self.tests[target], monotonic()
        with reporter.stage(f"test on {titled(target)}", "rows") as progress:
            evaluation = evaluate_rows(
                model.eval(),
                self.tokenizer,
                test.table.token_rows(),
                test.questions,
                self.config.evaluation,
                self.config.execution.tokens_a_batch(self.device.type, generates=self.config.evaluation.generate),
                progress,
            )
        taken = read_json(folder / _SECONDS) if (folder / _SECONDS).exists() else {}
        write_json(folder / _SECONDS, {**taken, target: round(monotonic() - begin, 2)})
        write_answers(folder / f"{target}.parquet", test.table.rows, test.table.ids, evaluation)
        record_digests(folder, [_SECONDS, f"{target}.parquet", TRAINING])

    def _tested(self, folder: Path, target: str, num_steps: int, tuned_for: float) -> Tested:
        seconds = {"tune": tuned_for, "evaluate": part(read_json(folder / _SECONDS), target, float, folder / _SECONDS)}
        return Tested(read_answers(folder / f"{target}.parquet"), num_steps, seconds)


def open_trials(config: CompareConfig, reporter: Reporter, own: Own = BUILT_IN_ONLY) -> Trials:
    """Find the model, read pool and tests. Raises a G2isError for whatever of them cannot be used."""
    for method in config.methods:
        own.check(config.selection_of(method, config.budgets[0], 0))
        run_config(config, Key(method, next(iter(config.targets)), config.budgets[0], 0), list(config.targets))
    any_cell = Key(RANDOM, next(iter(config.targets)), config.budgets[0], 0)
    prepared = prepare(run_config(config, any_cell, list(config.targets)), reporter)
    model, renderer = prepared.model, prepared.renderer
    device, cache = resolve_device(config.execution.device), config.out / "examples"
    target_modules(model.without_weights(), config.tuning.lora, "tuning")
    examples = read_inputs(prepared, cache, reporter)
    _check_budgets(config, examples)
    tokenizer = prepared.tokenizer
    of_tests = make_renderer(tokenizer, prepared.config.examples, model.context_length, "test", model.num_embeddings)
    tests = {
        name: read_test(files, config.examples, of_tests, tokenizer, cache, reporter)
        for name, files in config.tests.items()
    }
    representations = fingerprints(config, prepared)
    learned = {"learn_end_of_turn": config.examples.learn_end_of_turn}  # in targets, which have a renderer of their own
    made_from = {
        "model": prepared.identity.in_manifest(),
        "examples": {**renderer.fingerprint, **how_read(config.examples), **learned},
        "pool_sha256": examples.pool.source_sha256,
        "targets_sha256": {name: table.source_sha256 for name, table in examples.targets.items()},
        "tests_sha256": {name: test.table.source_sha256 for name, test in tests.items()},
        "warmup": config.warmup.model_dump(mode="json", exclude={"seed"}),
        "target_form": config.gradients.target_form,
        "projection": config.gradients.projection.model_dump(mode="json", exclude={"seed"}),
        **as_stored(config),
        "rows": digest_of_rows(examples.filtered),
        **{
            key: value
            for name in (RANDOM, *config.methods)
            for key, value in as_selected(config, name, own, representations).items()
        },
        "tuning": config.tuning.model_dump(mode="json", exclude={"seed"}),
        "evaluation": how_judged(config.evaluation),
    }
    write_json_lines(config.out / BAD_ROWS, chain(examples.bad_rows(), *(test.bad_rows for test in tests.values())))
    record_digests(config.out, [BAD_ROWS])
    remarks = shared_rows(prepared, config, examples, tests)
    if config.evaluation.generate:
        remarks += [text for name, test in tests.items() for text in describe_questions(titled(name), test, tokenizer)]
    for text in remarks:
        reporter.notice(text)
    keep = keep_rendering(model, tokenizer, renderer, config.examples, reporter.notice)
    return Trials(
        *(config, own, model, tokenizer, device, examples.pool, tests, made_from, remarks),
        keep_beside=keep if config.keep_adapters else None,
    )


def _check_budgets(config: CompareConfig, examples: Examples) -> None:
    """Raise SelectionError for one that cannot be met or is another by a second name, before the hours of work."""
    seen: dict[tuple[int, str], str] = {}
    for budget in config.budgets:
        for method in (RANDOM, *config.methods):
            found = plan_for(config.selection_of(method, budget, 0), examples).budget
            same = seen.setdefault((found.amount, found.unit), budget)
            if same != budget:
                raise SelectionError(
                    f"budgets: expected different ones, found {same} and {budget}, which both are {found.amount}"
                    f" {found.unit} of this pool; leave one out"
                )


def seconds_by_stage(run: Path) -> dict[str, float]:
    """What the stages of a run took, by id, over all of its sittings."""
    total: dict[str, float] = {}
    for sitting in part(read_json(run / "summary.json"), "sittings", list, run / "summary.json"):
        for name, seconds in sitting["seconds"].items():
            stage = stage_id(name)
            total[stage] = total.get(stage, 0.0) + seconds
    return total


def run_config(config: CompareConfig, key: Key, targets: Sequence[str]) -> Config:
    """The run that selects for `targets` as the cell `key`, which has a budget and a seed, does for its own."""
    assert key.budget is not None
    assert key.seed is not None
    settings, seed = config.selection_of(key.method, key.budget, key.seed), key.seed
    store = config.out / "store" / f"seed-{seed if settings.representation == GRADIENT else 0}"
    values = {
        "pool": list(config.pool),
        "targets": {name: list(config.targets[name]) for name in targets},
        "out": str(key.place(config.out / "selections")),
        "store": str(store),
        "model": config.model.model_dump(mode="json"),
        "examples": config.examples.model_dump(mode="json"),
        "representation": read_by(config.representation, settings.representation),
        "warmup": {**config.warmup.model_dump(mode="json"), "seed": seed},
        "gradients": {
            **config.gradients.model_dump(mode="json"),
            # a store that was begun for other methods keeps their Γ forms
            "forms": list(stored_forms(store) or config.gradients.forms),
            "projection": {**config.gradients.projection.model_dump(mode="json"), "seed": seed},
        },
        "selection": settings.model_dump(mode="json"),
        "execution": config.execution.model_dump(mode="json"),
    }
    run: Config = parse(Config, values, f"cell {key}")
    return run
