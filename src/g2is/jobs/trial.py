"""One tuning and its tests, from which a comparison's cells come, as a job that any process can do.

Tunings are kept by content below OUT/tuned/: the same rows tuned on in the same way are tuned on once, whatever method
chose them.

    HASH/training.json, adapter/    as `training/tune.py` writes them; the adapter goes when its tests are done, and is
                                    tuned again if another target asks for it later
    HASH/TARGET.parquet             every test row's loss and metrics (`evaluation/table.py`)
    HASH/seconds.json               what each target's test took
    untuned/                        the tests of the model as it is
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from g2is.config import TuningConfig
from g2is.config.compare import CompareConfig
from g2is.config.targets import titled
from g2is.errors import StoreError
from g2is.evaluation.rows import Evaluation, evaluate_rows
from g2is.evaluation.table import read_answers, write_answers
from g2is.examples.how_read import how_read
from g2is.examples.table import ExampleTable
from g2is.jobs.beside_adapter import beside_trial
from g2is.jobs.prepare import Prepared
from g2is.jobs.test_rows import TestRows, how_judged
from g2is.model.adapter import load_adapter
from g2is.model.folder import resolve_device
from g2is.progress import Reporter
from g2is.store.digests import damaged_files, record_digests, record_missing, record_presence
from g2is.store.files import is_sealed, read_json, remove, write_json
from g2is.store.given import part
from g2is.training.tune import ADAPTER, TRAINING, damaged_adapter, finished_tuning, tune

TUNED, UNTUNED = "tuned", "untuned"  # folders
TUNING = "tune"  # a stage, as `testing` names others
SECONDS = "seconds.json"


@dataclass(frozen=True)
class TrialJob:
    """A `Job`: tune on the pool's rows at `rows` for `epochs` with a `seed`, then test on `targets`.

    `rows` are positions in the pool without what was excluded, None for all of them. Without a seed nothing is tuned:
    the model is tested as it is. `made_from` is a digest of all that decides what comes of it, and `cells` says whose
    it is.
    """

    number: int
    cells: str
    made_from: str
    targets: tuple[str, ...]
    rows: tuple[int, ...] | None
    epochs: int
    seed: int | None

    def __str__(self) -> str:
        return f"cell {self.cells}"

    @property
    def folder(self) -> str:
        """The name of its folder below OUT/tuned. Two jobs of one folder are never to be done at the same time."""
        return UNTUNED if self.seed is None else self.made_from


@dataclass(frozen=True)
class Tested:
    """What a tuned model does on a target's (T,) test rows, the optimizer steps it had, and seconds by stage."""

    evaluation: Evaluation
    num_steps: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class Bench:
    """What trials need: a model, one pool, the test rows of every target.

    `shared` is what all of them are made from; `keep_beside` writes what lies beside an adapter that stays.
    """

    config: CompareConfig
    prepared: Prepared
    device: torch.device
    pool: ExampleTable
    tests: Mapping[str, TestRows]
    shared: Mapping[str, Any]
    keep_beside: Callable[[Path], None] | None = None

    def job(
        self,
        number: int,
        cells: str,
        targets: Sequence[str],
        rows: np.ndarray | None,
        epochs: int,
        seed: int | None,
    ) -> TrialJob:
        """The job of that number; `rows` (n,) int64, and the rest as a `TrialJob` has it."""
        positions = None if rows is None else tuple(rows.tolist())
        return TrialJob(number, cells, self._digest(rows, epochs, seed), tuple(targets), positions, epochs, seed)

    def check(self, job: TrialJob) -> None:
        """Raise StoreError if `job` is of another model, pool or test, or of other settings than these."""
        if job.made_from != self._digest(_array(job.rows), job.epochs, job.seed):
            raise StoreError(
                f"{job}: expected a job of the model, the files and the settings that this process finds, found one of"
                " others. Give all processes of a command the same files and versions of packages"
            )

    def tokens(self, job: TrialJob) -> dict[str, int]:
        """The tokens that each stage of a job goes through."""
        tests = {testing(target): int(self.tests[target].table.num_tokens.sum()) for target in job.targets}
        return tests if job.seed is None else {TUNING: self.tokens_tuned_on(job) * job.epochs, **tests}

    def tokens_tuned_on(self, job: TrialJob) -> int:
        """The tokens of the rows that a job tunes on, each once."""
        if job.seed is None:
            return 0
        return int(self.pool.num_tokens[slice(None) if job.rows is None else list(job.rows)].sum())

    def make(self, job: TrialJob, reporter: Reporter) -> None:
        """Tune and test as `job` says; what is there already is not done again. Raises ModelError if it diverges."""
        folder = self._folder(job)
        untested = [target for target in job.targets if not self._is_tested(folder, target, reporter)]
        if job.seed is not None:
            model = self._tuned(job, folder, bool(untested), reporter)
        elif untested:
            model = self.prepared.model.load(self.device)
        for target in untested:
            self._test(folder, target, model, reporter)
        if not self.config.keep_adapters:
            gone = folder / f".{ADAPTER}.gone"  # else a kill might leave half an adapter for another target to load
            if (folder / ADAPTER).exists():
                remove(gone)
                (folder / ADAPTER).replace(gone)
            remove(gone)

    def tested(self, job: TrialJob, target: str) -> Tested:
        """What came of a job that is done."""
        folder = self._folder(job)
        record: dict[str, Any] | None = {"num_steps": 0, "seconds": 0.0}
        if job.seed is not None:
            record = finished_tuning(folder)
        assert record is not None
        took = part(read_json(folder / SECONDS), target, float, folder / SECONDS)
        seconds = {"tune": record["seconds"], "evaluate": took}
        return Tested(read_answers(folder / f"{target}.parquet"), record["num_steps"], seconds)

    def _tuned(self, job: TrialJob, folder: Path, needed: bool, reporter: Reporter) -> Any:
        """The model tuned, now if it is not yet; None if it is and not `needed`."""
        is_tuned = finished_tuning(folder) is not None
        if is_tuned and not (needed and damaged_adapter(folder)):
            return load_adapter(self.prepared.model, folder / ADAPTER, self.device) if needed else None
        if is_tuned and (folder / ADAPTER).exists():
            reporter.notice(f"{folder / ADAPTER}: found it damaged; it is trained again")
        remove(folder / TRAINING)  # an adapter that was not kept is trained again for another target
        rows, tuning = self.pool.token_rows(_array(job.rows)), self._tuning(job.epochs, job.seed)
        with reporter.stage(TUNING, "steps") as progress:
            return tune(
                *(self.prepared.model, rows, folder, tuning, self.config.execution, self.device),
                *(progress, reporter.notice),
                keep_beside=self.keep_beside,
            )

    def _test(self, folder: Path, target: str, model: Any, reporter: Reporter) -> None:
        test, begin = self.tests[target], monotonic()
        with reporter.stage(testing(target), "rows") as progress:
            evaluation = evaluate_rows(
                model.eval(),
                self.prepared.tokenizer,
                test.table.token_rows(),
                test.questions,
                self.config.evaluation,
                self.config.execution.tokens_a_batch(self.device.type, generates=self.config.evaluation.generate),
                progress,
            )
        taken = read_json(folder / SECONDS) if (folder / SECONDS).exists() else {}
        write_json(folder / SECONDS, {**taken, target: round(monotonic() - begin, 2)})
        write_answers(folder / f"{target}.parquet", test.table.rows, test.table.ids, evaluation)
        record_digests(folder, [f"{target}.parquet", TRAINING])
        record_presence(folder, SECONDS)

    def _is_tested(self, folder: Path, target: str, reporter: Reporter) -> bool:
        """Whether the answers for `target` are there as they were written; `reporter` is told of damaged ones."""
        answers = f"{target}.parquet"
        if not (folder / answers).exists():
            return False
        damaged = damaged_files(folder, [answers])
        if not is_sealed(folder / SECONDS):  # which each target's test writes anew
            damaged.append(SECONDS)
        if damaged:
            reporter.notice(f"{folder}: found {', '.join(damaged)} damaged; {titled(target)} is tested again")
        for name in damaged:
            remove(folder / name)
        if damaged or target not in read_json(folder / SECONDS):
            return False
        record_missing(folder, [answers, TRAINING])
        record_presence(folder, SECONDS)
        return True

    def _folder(self, job: TrialJob) -> Path:
        return self.config.out / TUNED / job.folder

    def _tuning(self, epochs: int, seed: int | None) -> TuningConfig:
        return self.config.tuning.model_copy(update={"seed": seed, "epochs": epochs})

    def _digest(self, rows: np.ndarray | None, epochs: int, seed: int | None) -> str:
        tuning = None if seed is None else self._tuning(epochs, seed).model_dump(mode="json")
        text = json.dumps({**self.shared, "tuning": tuning}, sort_keys=True)
        total = hashlib.blake2b(text.encode(), digest_size=12)
        if tuning is not None:
            total.update((self.pool.keys if rows is None else self.pool.keys[rows]).tobytes())
        return total.hexdigest()


def open_bench(
    config: CompareConfig,
    prepared: Prepared,
    pool: ExampleTable,
    tests: Mapping[str, TestRows],
    notice: Callable[[str], None],
) -> Bench:
    """The bench of a comparison whose files are read; `notice` is told of what cannot be kept beside adapters."""
    learned = {"learn_end_of_turn": config.examples.learn_end_of_turn}  # in targets, which have a renderer of their own
    shared = {
        "model": prepared.identity.in_manifest(),
        "examples": {**prepared.renderer.fingerprint, **how_read(config.examples), **learned},
        "evaluation": how_judged(config.evaluation, tests.values()),
        "tests": {name: test.table.source_sha256 for name, test in tests.items()},
    }
    keep = beside_trial(config.model, config.tuning, config.examples, prepared, notice)
    device = resolve_device(config.execution.device)
    return Bench(config, prepared, device, pool, tests, shared, keep if config.keep_adapters else None)


def testing(target: str) -> str:
    """The title of the stage that tests on a target."""
    return f"test on {titled(target)}"


def _array(rows: tuple[int, ...] | None) -> np.ndarray | None:
    return None if rows is None else np.array(rows, np.int64)
