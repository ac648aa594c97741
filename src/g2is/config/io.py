"""Settings in and out: validation with all problems at once, YAML files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from g2is.config.strict import parse_yaml, read_text_file
from g2is.config.suggest import keys_of, meant, section_at
from g2is.errors import ConfigError
from g2is.methods import Section

COMMAND = "command"  # which one settings are of (`commands.py`): to be read, not to be set


def parse(model: type[Section], values: Mapping[str, Any], origin: str) -> Any:
    """Validate `values` as `model`; all problems are reported together.

    Raises ConfigError naming `origin` (a file, or "the command line") and each offending key.
    """
    try:
        return model.model_validate(_without_empty(model, values))
    except ValidationError as error:
        problems: dict[str, list[str]] = {}
        for problem in error.errors():
            key, text = describe(model, problem)
            problems.setdefault(key, []).append(text)
        lines = [_line(key, " or ".join(dict.fromkeys(texts))) for key, texts in problems.items()]
        raise ConfigError(f"{origin}: {len(lines)} setting(s) cannot be used:\n  " + "\n  ".join(lines)) from None


def _without_empty(model: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` without sections that are null: those of a file in which nothing is left below their name."""
    found = dict(values)
    for name, value in values.items():
        section = section_at(model, name)
        if section is not None and value is None:
            del found[name]
        elif section is not None and isinstance(value, Mapping):
            found[name] = _without_empty(section, value)
    return found


def _line(key: str, text: str) -> str:
    return text if not key or text.startswith(f"{key}.") else f"{key}: {text}"


def load(path: Path) -> dict[str, Any]:
    """Read a config file's mapping. Raises ConfigError if it is not a YAML mapping."""
    try:
        values = parse_yaml(read_text_file(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path}: expected a YAML config, such as the config.yaml of a run's folder, but it cannot be"
            f" read: {reason}"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a YAML mapping of settings, found {type(values).__name__}")
    return values


def dump(config: Section) -> str:
    """The config as YAML, every default spelled out."""
    return to_yaml(config.model_dump(mode="json"))


def to_yaml(values: Mapping[str, Any]) -> str:
    """`values` as YAML, in their order."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def describe(model: type[Section], problem: Any) -> tuple[str, str]:
    """The setting of `model` that a problem of pydantic is about, and what is wrong with it."""
    if problem["type"] == "extra_forbidden":
        key = ".".join(str(part) for part in problem["loc"])
        section, dot, name = str(problem["loc"][-1]).rpartition(".")
        if dot and key in keys_of(model):
            return key, f"expected a section and its settings below it, as `{section}: {{{name}: …}}`, found one key"
        if near := meant(model, key):
            return key, f"unknown; did you mean {' or '.join(near)}?"
        return key, f"unknown; known: {', '.join(_listed(model, key.rpartition('.')[0]))}"
    key = ".".join(_known_part(model, problem["loc"]))
    if problem["type"] == "missing":
        return key, "required, but not given"
    found = problem.get("input")
    if problem["type"] == "path_type":
        return key, f"expected a path, found {found!r}"
    if key == COMMAND:
        own = model.model_fields[key].default
        return key, f"expected {own}, whose settings these are, found {found!r}; leave it out"
    text = problem["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    told = isinstance(found, Mapping) or ", found " in text or (isinstance(found, str) and repr(found) in text)
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


def _listed(model: type[Section], section: str) -> list[str]:
    """The settings of a section; where it is none, those of no section, and the sections."""
    known = keys_of(model)
    inside = [key for key in known if section and key.rpartition(".")[0] == section]
    sections = dict.fromkeys(key.rpartition(".")[0] for key in known if "." in key)
    return inside or [*(key for key in known if "." not in key), *(f"{name}.…" for name in sections)]
