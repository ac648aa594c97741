"""Settings in and out: validation with all problems at once, YAML files."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from g2is.config import Config, EvaluateConfig, MatrixWalkConfig, Section, TrainConfig
from g2is.config.compare import CompareConfig
from g2is.errors import ConfigError, StoreError

SETTINGS = "config.yaml"  # of every folder that a command works in
_COMMAND = "command"
COMMANDS: dict[str, type[Section]] = {
    model.model_fields[_COMMAND].default: model
    for model in (Config, MatrixWalkConfig, CompareConfig, TrainConfig, EvaluateConfig)
}
# What a file without `command` is of, as they were once written: by a setting that no other command has, else select.
_TOLD_BY = {"data": "train", "test": "evaluate", "tests": "compare", "pool_gradients": "walk"}


def parse(model: type[Section], values: Mapping[str, Any], origin: str) -> Any:
    """Validate `values` as `model`; all problems are reported together.

    Raises ConfigError naming `origin` (a file, or "the command line") and each offending key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems: dict[str, list[str]] = {}
        for problem in error.errors():
            key, text = _describe(model, problem)
            problems.setdefault(key, []).append(text)
        lines = [f"{key}: " * bool(key) + " or ".join(dict.fromkeys(texts)) for key, texts in problems.items()]
        raise ConfigError(f"{origin}: {len(lines)} setting(s) cannot be used:\n  " + "\n  ".join(lines)) from None


def load(path: Path) -> dict[str, Any]:
    """Read a config file's mapping. Raises ConfigError if it is not a YAML mapping."""
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path}: expected a YAML config, such as the config.yaml of a run's folder, but it cannot be"
            f" read: {reason}"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a YAML mapping of settings, found {type(values).__name__}")
    return values


def command_of(values: Mapping[str, Any], origin: str) -> str:
    """The command that the settings `values` of the file `origin` are of, one of `COMMANDS`.

    Raises ConfigError if they say another, as those of a later version may.
    """
    if _COMMAND not in values:
        return next((command for setting, command in _TOLD_BY.items() if setting in values), "select")
    command = values[_COMMAND]
    if command not in list(COMMANDS):
        near = difflib.get_close_matches(str(command), COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "use the version of g2is that wrote the file"
        raise ConfigError(f"{origin}: {_COMMAND}: expected one of {', '.join(COMMANDS)}, found {command!r}; {hint}")
    return str(command)


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


def read_yaml(text: str) -> Any:
    """Parse YAML, but leave dates the text they are. Raises yaml.YAMLError."""
    return yaml.load(text, _PlainLoader)


class _PlainLoader(yaml.SafeLoader):
    """Knows no dates."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def dump(config: Section) -> str:
    """The config as YAML, every default spelled out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _describe(model: type[Section], problem: Any) -> tuple[str, str]:
    """The setting that a problem is about, and what is wrong with it."""
    if problem["type"] == "extra_forbidden":
        parts = [str(part) for part in problem["loc"]]
        key, known = ".".join(parts), _keys(model)
        sections = dict.fromkeys(k.rpartition(".")[0] for k in known if "." in k)
        section = key.rpartition(".")[0]
        inside = [k for k in known if k.rpartition(".")[0] == section] if section in sections else []
        near = difflib.get_close_matches(key, inside or [*known, *sections], n=1)
        near = near or [k for k in known if k.endswith("." + parts[-1])][:1]
        listed = ", ".join(inside or [*(k for k in known if "." not in k), *(f"{name}.…" for name in sections)])
        return key, "unknown" + (f"; did you mean {near[0]}?" if near else f"; known: {listed}")
    key = ".".join(_known_part(model, problem["loc"]))
    if problem["type"] == "missing":
        return key, "required, but not given"
    found = problem.get("input")
    if key == _COMMAND:
        own = model.model_fields[key].default
        return key, f"expected {own}, whose settings these are, found {found!r}; leave it out"
    text = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    told = isinstance(found, Mapping) or ", found " in text
    return key, text if told else f"{text}, found {found!r}"


def _known_part(model: type[Section], place: tuple[Any, ...]) -> list[str]:
    """The names of settings in a problem's place: pydantic adds which branch of a union or which item it tried."""
    names: list[str] = []
    inner: Any = model
    for part in place:
        if not (isinstance(inner, type) and issubclass(inner, Section) and part in inner.model_fields):
            break
        names.append(str(part))
        inner = inner.model_fields[part].annotation
    return names


def _keys(model: type[Section], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if name == _COMMAND:
            continue  # which is not to be set
        if isinstance(kind, type) and issubclass(kind, Section):
            keys += _keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
