"""`g2is evaluate`: how well a model does on test rows and on tasks of lm-evaluation-harness, tuned or not.

OUT/config.yaml       every setting
OUT/manifest.json     what the work in OUT is made from: the same command goes on only with the same
OUT/examples/         tokenised test files
OUT/bad_rows.jsonl    rows of the files that could not be used, with the reason (if they were to be skipped)
OUT/answers.parquet   written when all test rows are done: row, id, loss, answers and every metric of each
OUT/tasks.json        results of the tasks that are done, while others are not
OUT/evaluation.json   written last: means, counts, results of tasks, and what they were made from
"""

import hashlib
import json
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from g2is.config import EvaluateConfig
from g2is.config.passed_over import without_use_in_test
from g2is.errors import StoreError
from g2is.evaluation import tasks as lm_eval_tasks
from g2is.evaluation.metrics import check_judge
from g2is.evaluation.rows import Evaluation, evaluate_rows
from g2is.evaluation.table import read_answers, write_answers
from g2is.examples.as_trained import RECORD, AsTrained, render_as_trained
from g2is.examples.tokenize import Renderer
from g2is.jobs.model_identity import identify, say_slow_products
from g2is.jobs.pinned import pin
from g2is.jobs.test_rows import TestRows, describe_questions, how_judged, read_test
from g2is.jobs.work_folder import BAD_ROWS, MANIFEST, WorkFolder, open_work
from g2is.model.adapter import check_adapter, find_adapter, load_adapter
from g2is.model.devices import check_spread
from g2is.model.folder import ModelFolder, find_model, resolve_device
from g2is.model.settings_file import GENERATION_CONFIG, read_settings
from g2is.progress import Reporter, Silent
from g2is.store.digests import DIGESTS, damaged_files, record_digests, record_missing
from g2is.store.files import read_json, remove, write_json, write_json_lines
from g2is.store.fingerprint import Fingerprint, flatten
from g2is.store.given import part
from g2is.store.moments import adapter_digest

ANSWERS, RESULT = "answers.parquet", "evaluation.json"
_TASKS = "tasks.json"
_VERSION = "evaluation.answers_version"
_READ_OTHERWISE = re.compile(r"[^\x00-\x7f]|\d\s?\^|\d[ .]\d{3}")  # words of other scripts, powers, thousands
# What lm-eval gives itself when it asks tasks: all else is as the model says, but where that changes nothing.
_GIVEN_TO_TASKS = frozenset(
    {
        *("do_sample", "temperature", "max_length", "use_cache", "pad_token_id", "bos_token_id"),
        *("transformers_version", "_from_model_config", "trust_remote_code", "return_dict_in_generate"),
        *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    }
)
# What an answer does not depend on: the likeliest token is taken each time, up to ends and lengths that g2is gives.
_SETTLED = _GIVEN_TO_TASKS | {
    *("num_beams", "repetition_penalty", "no_repeat_ngram_size", "min_length", "min_new_tokens", "max_new_tokens"),
    *("top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "eos_token_id"),
}
_WITHOUT_EFFECT = {"num_beams": 1, "repetition_penalty": 1.0}
_TASKS_ASKED = "tasks_asked"  # begins the keys of what decides how tasks are asked
_ASKED_GENERATION, _ASKED_VERSION = f"{_TASKS_ASKED}.generation", f"{_TASKS_ASKED}.kept_version"
_PACKAGES = ("g2is", "torch", "transformers", "peft", "rapidfuzz", "math-verify", "lm-eval")


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
    config = pin(config, reporter)
    check_judge(config.evaluation.numeric)
    names = config.evaluation.tasks
    if names:
        lm_eval_tasks.check_installed()
    with open_work(config.out, config, "test") as work, work.removed_on_error():
        check_spread(config.model, config.execution)
        device = resolve_device(config.execution.device)
        folder = find_model(config.model)
        adapter = None if config.adapter is None else find_adapter(config.adapter)
        if adapter is not None:
            check_adapter(folder, adapter)
            if damaged := damaged_files(adapter):
                raise StoreError(
                    f"{adapter / damaged[0]}: expected the adapter as g2is wrote it, found this file changed or gone."
                    f" Put it back; or, if it was changed on purpose, remove {adapter / DIGESTS}"
                )
        models = _Models(folder, adapter, device)
        rendered = render_as_trained(folder, adapter, config.examples, "test")
        config, tokenizer = config.model_copy(update={"examples": rendered.config}), rendered.tokenizer
        for text in (*without_use_in_test(config.execution, config.evaluation), *rendered.notices):
            reporter.notice(text)
        if adapter is not None and not rendered.is_told:
            reporter.notice(_untold(adapter, rendered.renderer))
        answers_are_gone = config.test is not None and not (config.out / ANSWERS).exists()
        unfinished = answers_are_gone or not (config.out / RESULT).exists()
        # a wrong name shows before any time is spent
        tasks = lm_eval_tasks.load_tasks(names, reporter) if names and unfinished else []
        identity = identify(folder, config.model, device, reporter)
        say_slow_products(identity.dtype, device, reporter)
        if adapter is not None and _trained_on(adapter) not in (None, identity.weights):
            reporter.notice(f"{adapter} was trained on another model than {folder.path}; this tests the two together")
        renderer, cache = rendered.renderer, config.out / "examples"
        if renderer.template_source is not None and not isinstance(tokenizer.chat_template, dict):
            tokenizer.chat_template = renderer.template_source  # tasks are asked in it too
        test = read_test(config.test, config.examples, renderer, tokenizer, cache, reporter) if config.test else None
        made_from = flatten(
            {
                "model": identity.in_manifest(),
                "adapter": None if adapter is None else adapter_digest(adapter),
                "evaluation": how_judged(config.evaluation, [] if test is None else [test]),
                "tasks": lm_eval_tasks.digests(names),
                **_asks_tasks(config, rendered, folder),
                **_generates(config, folder),
                **({} if test is None else test.made_from),
            }
        )
        _check_sound(config.out)
        _bind(work, config, made_from, test, asks_as_the_model=_asks_as_the_model(config, rendered))
        if answers_are_gone:
            _keep_tasks_alone(config.out)
        evaluation = Evaluation(np.zeros(0), np.zeros(0, np.int64))
        if test is not None:
            write_json_lines(config.out / BAD_ROWS, test.bad_rows)
            record_digests(config.out, [BAD_ROWS])
            if config.evaluation.generate:
                for text in describe_questions("test", test, tokenizer):
                    reporter.notice(text)
            if not (config.out / ANSWERS).exists():
                rows = test.table.token_rows()
                with reporter.stage("load model", "models"):
                    model = models.model
                with reporter.stage("test", "rows") as progress:
                    evaluation = evaluate_rows(
                        model,
                        tokenizer,
                        rows,
                        test.questions,
                        config.evaluation,
                        config.execution.tokens_a_batch(model.device.type, generates=config.evaluation.generate),
                        progress,
                    )
                write_answers(config.out / ANSWERS, test.table.rows, test.table.ids, evaluation)
                record_digests(config.out, [ANSWERS])
                if "loss" in config.evaluation.metrics and (num := int(np.sum(~np.isfinite(evaluation.losses)))):
                    reporter.notice(f"test: {num} of {len(rows)} rows have no loss but NaN or Inf, so there is no mean")
            evaluation = read_answers(config.out / ANSWERS)
        if unfinished:
            evaluation = replace(evaluation, tasks=_run_tasks(config, tasks, models, tokenizer, reporter))
            write_json(config.out / RESULT, {**evaluation.summary, "made_from": made_from, "versions": _versions()})
            record_digests(config.out, [RESULT])
            remove(config.out / _TASKS)
        record_missing(config.out, [ANSWERS, RESULT])
    return replace(evaluation, tasks=_tasks_of(config.out))


def _tasks_of(out: Path) -> dict[str, Any]:
    return part(read_json(out / RESULT), "tasks", dict, out / RESULT)


def _keep_tasks_alone(out: Path) -> None:
    """Of a result whose answers are gone: means of others are not kept."""
    if (out / RESULT).exists():
        write_json(out / _TASKS, _tasks_of(out))
        remove(out / RESULT)


def _trained_on(adapter: Path) -> str | None:
    """The digest of the weights that `g2is train` made this adapter on, where its folder says it."""
    with suppress(StoreError, AttributeError):  # a stranger's folder may have a file of that name
        weights = read_json(adapter.parent / MANIFEST).get("model.weights")
        return weights if isinstance(weights, str) else None
    return None


def _check_sound(out: Path) -> None:
    """Raise StoreError if what an evaluation wrote is not as it was written; what is gone is made again."""
    damaged = [name for name in damaged_files(out, [ANSWERS, RESULT]) if (out / name).exists()]
    if damaged:
        raise StoreError(
            f"{out / damaged[0]}: expected what the evaluation wrote, found it changed. Put it back, or evaluate again"
            f" with `g2is verify {out} --repair`"
        )


def _bind(
    work: WorkFolder, config: EvaluateConfig, made_from: Fingerprint, test: TestRows | None, *, asks_as_the_model: bool
) -> None:
    """A folder belongs to its settings once something was made under them: raises FingerprintError for others.

    How tasks are asked was once not kept where they are asked as the model itself says, nor what it says of answers.
    """
    if any((config.out / name).exists() for name in (ANSWERS, _TASKS, RESULT)):
        stored = work.made_from()
        if stored.get(_VERSION) in (None, 3, 4) and _VERSION in made_from and _right_alike(config.out / ANSWERS, test):
            stored[_VERSION] = made_from[_VERSION]
        stored |= _not_kept_before(stored, made_from, asks_as_the_model)
        work.check_same(stored, made_from, "an evaluation")
    work.bind(made_from, config)


def _right_alike(answers: Path, test: TestRows | None) -> bool:
    """Whether `answers` of before this version have the right answers of now, and nothing that was read otherwise."""
    if test is None or not answers.exists():
        return True
    kept = read_answers(answers)
    expected = [text.strip() for text in kept.expected]
    texts = (*expected, *kept.given, *(of.short for of in test.questions))
    are_right = expected == [of.right.strip() for of in test.questions] and all(of.asked for of in test.questions)
    return are_right and not any(_READ_OTHERWISE.search(text or "") for text in texts)


def _not_kept_before(stored: Fingerprint, made_from: Fingerprint, asks_as_the_model: bool) -> Fingerprint:
    """What an evaluation of an older version does not say of how tasks were asked: it is taken to be as now."""
    if _ASKED_VERSION in stored:
        return {}
    asked = [key for key in made_from if key.startswith(_TASKS_ASKED) and key not in stored]
    return {key: made_from[key] for key in asked if asks_as_the_model or key in (_ASKED_VERSION, _ASKED_GENERATION)}


def _asks_as_the_model(config: EvaluateConfig, rendered: AsTrained) -> bool:
    return not (rendered.is_own or config.examples.chat_template)


def _asks_tasks(config: EvaluateConfig, rendered: AsTrained, folder: ModelFolder) -> dict[str, Any]:
    """What decides how tasks are asked, and answered; of test rows their examples say it."""
    if not config.evaluation.tasks:
        return {}
    of_renderer, template = rendered.renderer.fingerprint, rendered.tokenizer.chat_template
    asked: dict[str, Any] = {"kept_version": 2, "tokenizer_sha256": of_renderer["tokenizer_sha256"]}
    if not _asks_as_the_model(config, rendered):
        asked["template_sha256"] = of_renderer["template_sha256"]
    elif config.evaluation.task_chat_template:
        asked["template_sha256"] = hashlib.sha256(json.dumps(template).encode()).hexdigest()
    left = _left_to_the_model(folder, _GIVEN_TO_TASKS)
    if said := {name: value for name, value in left.items() if value != _WITHOUT_EFFECT.get(name)}:
        asked["generation"] = json.dumps(said)
    return {_TASKS_ASKED: asked}


def _generates(config: EvaluateConfig, folder: ModelFolder) -> dict[str, Any]:
    """What the model's generation_config.json says of answers beyond what g2is settles itself; nothing for most."""
    left = _left_to_the_model(folder, _SETTLED) if config.evaluation.generate or config.evaluation.tasks else {}
    return {"generation": json.dumps(left)} if left else {}


def _left_to_the_model(folder: ModelFolder, given: Collection[str]) -> dict[str, Any]:
    """What generation_config.json says beside what is `given`."""
    file = folder.path / GENERATION_CONFIG
    found = sorted(read_settings(file).items()) if file.is_file() else []
    return {name: value for name, value in found if name not in given and value}


def _untold(adapter: Path, renderer: Renderer) -> str:
    of = renderer.fingerprint
    return (
        f"{adapter} does not say how its examples were rendered (`g2is train` writes it to {RECORD}); here with"
        f" template {of['template']}, max_length {of['max_length']}, truncation {of['truncation']}"
    )


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
