"""Tasks of lm-evaluation-harness (lm-eval, the optional extra `eval`), by name or from a user's own YAML files."""

import difflib
import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from g2is.errors import ConfigError, first_line, pass_on_too_little_memory
from g2is.progress import Reporter

_TOKENS_A_PROMPT = 1024  # lm-eval's batches are a number of prompts; one with worked examples holds about so much


@dataclass(frozen=True)
class Task:
    """A task, group or tag, with lm-eval's objects for it; `name` is as it was asked for."""

    name: str
    parts: Sequence[Any]


def check_installed() -> None:
    """Raise ConfigError if lm-eval is not there."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            "evaluation.tasks (--task): expected the package lm-eval, found it not installed; pip install 'g2is[eval]'"
        )


def digests(names: Sequence[str]) -> dict[str, str]:
    """What decides the results of each task: lm-eval's version, or of a YAML file the bytes of it and of its data.

    Raises ConfigError if a file cannot be read as a task.
    """
    return {name: _file_digest(Path(name)) if _is_file(name) else f"lm-eval {version('lm-eval')}" for name in names}


def load_tasks(names: Sequence[str], reporter: Reporter) -> list[Task]:
    """Look all names up, then fetch the tasks' data.

    Raises ConfigError as `find_tasks`, for a task whose data cannot be had, and for one that cannot be run here: about
    pictures, or with code that the model writes.
    """
    manager = find_tasks(names, reporter)
    with reporter.stage("load tasks", "tasks") as progress:
        tasks = []
        for done, name in enumerate(names, start=1):
            tasks.append(_load(name, manager))
            progress(done, len(names))
    return tasks


def find_tasks(names: Sequence[str], reporter: Reporter) -> Any:
    """lm-eval's TaskManager, which knows all of `names`.

    Raises ConfigError for a name that is not in its index, or a file that is no task.
    """
    settings = {name: _settings(Path(name)) for name in names if _is_file(name)}
    groups = tuple(str(Path(name).parent) for name, found in settings.items() if isinstance(found.get("task"), list))
    builtin = len(settings) < len(names) or bool(groups)
    if builtin:  # thousands of files: many seconds
        with reporter.stage("list lm-eval's tasks", "files"):
            manager = _manager(groups, builtin)
    else:
        manager = _manager(groups, builtin)
    for name in names:
        if name not in settings and name not in manager.task_index:
            near = ", ".join(difflib.get_close_matches(name, manager.all_tasks, n=3))
            raise ConfigError(
                f"--task {name}: expected a task, group or tag of lm-eval {version('lm-eval')}, or a .yaml file, found"
                f" neither; {f'did you mean {near}?' if near else '`lm_eval ls tasks` lists them'}"
            )
    return manager


def run_task(
    task: Task, model: Any, tokenizer: Any, batch_tokens: int, chat_template: bool, reporter: Reporter
) -> dict[str, Any]:
    """lm-eval's results of `task` on `model`, which is in eval mode, as JSON can hold them."""
    from lm_eval import simple_evaluate

    from g2is.evaluation.reported_model import ReportedModel

    batch_size = max(1, batch_tokens // _TOKENS_A_PROMPT)
    asked = ReportedModel(model, tokenizer, batch_size, f"ask {Path(task.name).stem}", reporter)
    found: Mapping[str, Any] = simple_evaluate(
        model=asked,
        tasks=list(task.parts),
        task_manager=_manager((), False),  # it has nothing to look up any more
        apply_chat_template=chat_template,
        log_samples=False,
    )
    kept = {key: found[key] for key in ("results", "groups", "n-shot", "n-samples", "versions") if found.get(key)}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain


def _load(name: str, manager: Any) -> Task:
    try:
        found = manager.load([name])
    except Exception as error:  # of the hub, of a file, of a task's own code, of a package that it needs
        pass_on_too_little_memory(error)
        raise ConfigError(
            f"--task {name}: expected a task that lm-eval can load, but: {first_line(error)}. Its data comes from the"
            " hub, or from the files that its YAML names; some sets must be asked for there first, and some tasks need"
            " more packages (pip install 'lm-eval[math]')"
        ) from None
    for task_name, task in found["tasks"].items():
        for flag, what in (("UNSAFE_CODE", "runs code that the model writes"), ("MULTIMODAL", "asks about pictures")):
            if getattr(task, flag, False):
                raise ConfigError(
                    f"--task {name}: expected a task of text alone, found that {task_name} {what}; leave it out, or run"
                    " it with the `lm_eval` command on the adapter"
                )
    groups = found.get("groups", {})
    children = {child for members in found.get("group_map", {}).values() for child in members}
    outermost = [group for group_name, group in groups.items() if group_name not in children]
    return Task(name, outermost or list(found["tasks"].values()))


@cache
def _manager(folders: tuple[str, ...], builtin: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=list(folders) or None, include_defaults=builtin)


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _settings(path: Path) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml  # the public class reads a file only together with its data

    try:
        settings = load_yaml(path, resolve_func=False)
    except Exception as error:  # of the disk, of YAML, of a file that is included
        pass_on_too_little_memory(error)
        raise ConfigError(
            f"--task {path}: expected a task of lm-eval as a YAML file, but: {first_line(error)}"
        ) from None
    if not settings.get("task"):
        raise ConfigError(
            f"--task {path}: expected a task of lm-eval, with the key task, found keys {', '.join(map(str, settings))}"
        )
    return dict(settings)


def _file_digest(path: Path) -> str:
    total = hashlib.blake2b(path.read_bytes() if path.is_file() else b"", digest_size=16)
    data = (_settings(path).get("dataset_kwargs") or {}).get("data_files") or {}
    named = data.values() if isinstance(data, Mapping) else [data]
    for files in named:
        for file in files if isinstance(files, list) else [files]:
            if Path(str(file)).is_file():
                total.update(Path(str(file)).read_bytes())
    return total.hexdigest()
