"""`g2is evaluate`: how well a model does on test rows and on tasks of lm-evaluation-harness, tuned or not.

OUT/config.yaml       every setting
OUT/manifest.json     what the work in OUT is made from: the same command goes on only with the same
OUT/examples/         tokenised test files
OUT/bad_rows.jsonl    rows of the files that could not be used, with the reason (if they were to be skipped)
OUT/answers.parquet   written when all test rows are done: row, id, loss, answers and every metric of each
OUT/tasks.json        results of the tasks that are done, while others are not
OUT/evaluation.json   written last: means, counts, results of tasks, and what they were made from
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from g2is.config import EvaluateConfig
from g2is.evaluation import tasks as lm_eval_tasks
from g2is.evaluation.rows import Evaluation, evaluate_rows
from g2is.evaluation.table import read_answers, write_answers
from g2is.examples.tokenize import make_renderer
from g2is.jobs.model_identity import identify
from g2is.jobs.test_rows import read_test
from g2is.jobs.work_folder import WorkFolder, open_work
from g2is.model.adapter import check_adapter, find_adapter, load_adapter
from g2is.model.folder import ModelFolder, find_model, resolve_device
from g2is.progress import Reporter, Silent
from g2is.store.files import read_json, remove, write_json, write_json_lines
from g2is.store.fingerprint import Fingerprint, flatten
from g2is.store.moments import adapter_digest

ANSWERS, RESULT = "answers.parquet", "evaluation.json"
_TASKS = "tasks.json"
_PACKAGES = ("g2is", "torch", "transformers", "peft", "rouge-score", "lm-eval")


@dataclass
class _Models:
    """The model to be tested, loaded when it is first asked for."""

    folder: ModelFolder
    adapter: Path | None
    device: torch.device

    @cached_property
    def model(self) -> Any:
        if self.adapter is None:
            return self.folder.load(self.device)
        return load_adapter(self.folder, self.adapter, self.device)


def evaluate(config: EvaluateConfig, reporter: Reporter | None = None) -> Evaluation:
    """Test the model, or go on where a stopped evaluation was; nothing that is done is computed again.

    Raises a G2isError for everything a user can mend, FingerprintError if `config.out` holds other work.
    """
    reporter = reporter or Silent()
    names = config.evaluation.tasks
    if names:
        lm_eval_tasks.check_installed()
    with open_work(config.out, EvaluateConfig, "test") as work, work.removed_on_error():
        device = resolve_device(config.execution.device)
        folder = find_model(config.model)
        adapter = None if config.adapter is None else find_adapter(config.adapter)
        if adapter is not None:
            check_adapter(folder, adapter)
        models, tokenizer = _Models(folder, adapter, device), folder.tokenizer()
        unfinished = not (config.out / RESULT).exists()
        # a wrong name shows before any time is spent
        tasks = lm_eval_tasks.load_tasks(names, reporter) if names and unfinished else []
        identity = identify(folder, config.model, device, reporter)
        renderer = make_renderer(tokenizer, config.examples, folder.context_length, folder.num_embeddings)
        cache = config.out / "examples"
        test = read_test(config.test, config.examples, renderer, cache, reporter) if config.test else None
        made_from = flatten(
            {
                "model": identity.in_manifest(),
                "adapter": None if adapter is None else adapter_digest(adapter),
                "evaluation": config.evaluation.model_dump(mode="json"),
                "tasks": lm_eval_tasks.digests(names),
                **({} if test is None else test.made_from),
            }
        )
        _bind(work, config, made_from)
        evaluation = Evaluation(np.zeros(0), np.zeros(0, np.int64))
        if test is not None:
            write_json_lines(config.out / "bad_rows.jsonl", test.bad_rows)
            if not (config.out / ANSWERS).exists():
                rows = test.table.token_rows()
                with reporter.stage("load model", "models"):
                    model = models.model
                with reporter.stage("test", "rows") as progress:
                    evaluation = evaluate_rows(
                        model,
                        tokenizer,
                        rows,
                        test.references,
                        config.evaluation,
                        config.execution.tokens_a_batch(model.device.type, generates=config.evaluation.generate),
                        progress,
                    )
                write_answers(config.out / ANSWERS, test.table.rows, test.table.ids, evaluation)
            evaluation = read_answers(config.out / ANSWERS)
        if unfinished:
            evaluation = replace(evaluation, tasks=_run_tasks(config, tasks, models, tokenizer, reporter))
            write_json(config.out / RESULT, {**evaluation.summary, "made_from": made_from, "versions": _versions()})
            remove(config.out / _TASKS)
    return replace(evaluation, tasks=read_json(config.out / RESULT)["tasks"])


def _bind(work: WorkFolder, config: EvaluateConfig, made_from: Fingerprint) -> None:
    """A folder belongs to its settings once something was made under them: raises FingerprintError for others."""
    if any((config.out / name).exists() for name in (ANSWERS, _TASKS, RESULT)):
        work.check_same(work.made_from(), made_from, "an evaluation")
    work.bind(made_from, config)


def _run_tasks(
    config: EvaluateConfig, tasks: list[lm_eval_tasks.Task], models: _Models, tokenizer: Any, reporter: Reporter
) -> dict[str, Any]:
    kept = config.out / _TASKS
    done = read_json(kept) if kept.exists() else {}
    for task in tasks:
        if task.name not in done:
            done[task.name] = lm_eval_tasks.run_task(
                task,
                models.model,
                tokenizer,
                config.execution.tokens_a_batch(models.model.device.type, generates=True),
                config.evaluation.task_chat_template,
                reporter,
            )
            write_json(kept, done)
    return {task.name: done[task.name] for task in tasks}


def _versions() -> dict[str, str]:
    """Of what results depend on; lm-eval's where it is there."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
