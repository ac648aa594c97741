"""Which command settings are of: `config.yaml` says it, and older files tell by their keys."""

import difflib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from g2is.config.compare import CompareConfig
from g2is.config.io import COMMAND, load, parse
from g2is.config.passed_over import without_passed_over
from g2is.config.representation import RepresentationConfig
from g2is.config.runs import Config, EvaluateConfig, MatrixWalkConfig, TrainConfig
from g2is.config.selection import FIRST_SETTINGS, SelectionConfig
from g2is.errors import ConfigError, StoreError
from g2is.methods import Section

SETTINGS = "config.yaml"  # of every folder that a command works in
COMMANDS: dict[str, type[Section]] = {
    model.model_fields[COMMAND].default: model
    for model in (Config, MatrixWalkConfig, CompareConfig, TrainConfig, EvaluateConfig)
}
# What a file without `command` is of, as they were once written: by a setting that no other command has, else select.
_TOLD_BY = {"data": "train", "test": "evaluate", "tests": "compare", "pool_gradients": "walk"}


def command_of(values: Mapping[str, Any], origin: str) -> str:
    """The command that the settings `values` of the file `origin` are of, one of `COMMANDS`.

    Raises ConfigError if they say another, as those of a later version may.
    """
    if COMMAND not in values:
        return next((command for setting, command in _TOLD_BY.items() if setting in values), "select")
    command = values[COMMAND]
    if command not in list(COMMANDS):
        near = difflib.get_close_matches(str(command), COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "use the version of g2is that wrote the file"
        raise ConfigError(f"{origin}: {COMMAND}: expected one of {', '.join(COMMANDS)}, found {command!r}; {hint}")
    return str(command)


def updated(values: Mapping[str, Any], origin: str) -> tuple[dict[str, Any], list[str]]:
    """The settings `values` of the file `origin` as they would be written now, and the names of those that got lost.

    Runs once kept settings that they passed over, most at their defaults, which are no loss. What has no command and
    not all settings is no run's file.
    """
    by_a_run = COMMAND not in values and command_of(values, origin) in ("select", "walk")
    if by_a_run and isinstance(of := values.get("selection"), Mapping) and of.keys() >= set(FIRST_SETTINGS):
        kept = without_passed_over(values)
        models: dict[str, type[Section]] = {"selection": SelectionConfig, "representation": RepresentationConfig}
        return kept, [
            f"{section}.{name}"
            for section, model in models.items()
            for name, value in (values.get(section) or {}).items()
            if name not in kept[section] and value != model().model_dump(mode="json").get(name)
        ]
    return dict(values), []


def command_in(folder: Path) -> str | None:
    """The command that the settings in `folder` are of, one of `COMMANDS`; None where there are none.

    Raises ConfigError if they cannot be read, or are of no command that is known.
    """
    settings = folder / SETTINGS
    return command_of(load(settings), str(settings)) if settings.exists() else None


def settings_in(folder: Path) -> Any:
    """The settings in `folder`, of the class in `COMMANDS` that their command has; None where there are none.

    Raises ConfigError if they cannot be read or used.
    """
    settings = folder / SETTINGS
    if not settings.exists():
        return None
    values, _ = updated(load(settings), str(settings))
    return parse(COMMANDS[command_of(values, str(settings))], values, str(settings))


def told_of(folder: Path, command: str | None) -> str:
    """What a message says that `folder` is, of the command whose settings it has, if any."""
    if command is not None:
        return f"the folder of `g2is {command}`"
    if folder.is_dir():
        return "another folder"
    return f"{'a file' if folder.exists() else 'no such folder'}; check the path"


def run_again(folder: Path) -> str:
    """What to give to a shell, anywhere, to do the work of `folder` again beside it."""
    folder = folder.resolve()
    return f"g2is run {shlex.quote(str(folder / SETTINGS))} --out {shlex.quote(f'{folder}-again')}"


def check_command(folder: Path, model: type[Section]) -> None:
    """Raise StoreError if `folder` holds the settings of another command than `model` is of: it keeps them.

    Raises ConfigError if its settings cannot be read, or are of no command that is known.
    """
    settings = folder / SETTINGS
    if not settings.exists():
        return
    values = load(settings)
    command, others = command_of(values, str(settings)), values.keys() - model.model_fields.keys()
    if COMMANDS[command] is not model or others:
        own = COMMANDS[command] is model
        told = f"its {SETTINGS} has {', '.join(sorted(others))}" if own else f"g2is {command}"
        raise StoreError(
            f"{folder}: expected a new folder or this command's own, found that of another command ({told}); name"
            " another --out"
        )
