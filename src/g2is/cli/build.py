"""From flags, and the file that --config names, to a validated configuration."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

from g2is.cli.given import Given, flags_of, over, tell_of_other_choice, without_forms, without_what_followed
from g2is.cli.options import assign, examples_settings, given_only, resources
from g2is.cli.session import reporter
from g2is.cli.usage import missing
from g2is.config import Config, EvaluateConfig, InspectConfig, MatrixWalkConfig, SelectionConfig, TrainConfig
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.config.passed_over import not_read, passed_over
from g2is.config.runs import STORE_VARIABLE
from g2is.config.targets import read_quotas, read_shares, read_targets
from g2is.errors import ConfigError
from g2is.methods import Section

_SELECTION = (
    *("method", "budget", "include", "exclude", "exclude_overlap"),
    *("core_mode", "core_fraction", "delta"),
)
_ONLY_EXAMPLES = (
    *("files", "target", "model", "store", "device", "engine", "workers", "address", "worker_resources"),
    *("adapter", "schema", "column", "on_bad_row", "learning_rate", "rank"),
    *("share", "quota", "include", "exclude", "exclude_overlap"),
)


def run_config(command: str, context: typer.Context, out: Path | None = None) -> Config:
    """The configuration of a run of `command`, from its flags; `out` is its folder where none is given.

    Raises ConfigError listing every setting that cannot be used, ModelError where the model is not to be had.
    """
    asked, given = flags_of(context)[0], context.params.get("config")
    pool, targets = _split_files(command, asked, given)
    values: dict[str, Any] = {
        **{"pool": pool, "targets": targets, "out": _text(asked["out"] or out), "store": asked["store"]},
        "model": given_only({"name": asked["model"]}),
        "examples": examples_settings(asked["schema"], asked["column"], asked["on_bad_row"]),
        "warmup": _training(asked) | given_only({"adapter": asked["adapter"]}),
        "selection": _selection(asked),
        "execution": _execution(asked),
    }
    for key in ("warmup.seed", "gradients.projection.seed"):
        _fill(values, key, asked["seed"], asked["set_"])
    merged = _merged(Config, values, asked, given)
    if isinstance(selection := merged.get("selection") or {}, Mapping):
        if "seed" not in passed_over({**selection, "seed": asked["seed"]}):  # it draws, or is one of the user's own
            _fill(merged, "selection.seed", asked["seed"], asked["set_"])
        _check_looked_at(asked, merged.get("selection") or {}, values.get("selection") or {})
    config: Config = parse(Config, merged, _origin(given))
    if merged.get("store") is None and os.environ.get(STORE_VARIABLE):
        reporter().notice(f"store: {config.store}, by {STORE_VARIABLE}")
    _check_model(config)
    return config


def matrix_walk_config(context: typer.Context) -> MatrixWalkConfig:
    """The configuration of a walk on matrices, from the flags of `walk`.

    Raises ConfigError listing every setting that cannot be used.
    """
    asked, given = flags_of(context)[0], context.params.get("config")
    if found := [_flag(name) for name in _ONLY_EXAMPLES if asked.get(name)]:
        raise ConfigError(
            "g2is walk: expected either POOL, TARGET and --model (and what goes with them), or --pool-gradients and"
            f" --target-gradients; found matrices and {', '.join(found)}. Leave one or the other out"
        )
    for name in ("pool_gradients", "target_gradients"):
        if asked[name] is None and given is None:
            raise ConfigError(
                "g2is walk: expected --pool-gradients and --target-gradients together, found no " + _flag(name)
            )
    values: dict[str, Any] = {
        **{name: _text(asked[name]) for name in ("pool_gradients", "target_gradients", "graph", "out")},
        "selection": _selection(asked) | given_only({"seed": asked["seed"]}),
    }
    merged = _merged(MatrixWalkConfig, values, asked, given)
    if isinstance(selection := merged.get("selection") or {}, Mapping):
        _check_looked_at(asked, selection, values.get("selection") or {})
    config: MatrixWalkConfig = parse(MatrixWalkConfig, merged, _origin(given))
    return config


def compare_config(context: typer.Context) -> CompareConfig:
    """The configuration of a comparison, from the flags of `compare`.

    Raises ConfigError listing every setting that cannot be used, ModelError where the model is not to be had.
    """
    (asked, defaults), given = flags_of(context), context.params.get("config")
    pool, targets = _split_files("compare", asked, given)
    values: dict[str, Any] = {
        **{"pool": pool, "targets": targets, "out": _text(asked["out"])},
        "tests": read_targets(asked["test"], "--test") if asked["test"] else None,
        "model": given_only({"name": asked["model"]}),
        **_grid(asked),
        "examples": examples_settings(asked["schema"], asked["column"], asked["on_bad_row"]),
        "execution": _execution(asked),
    }
    for key, name in (("learning_rate", "learning_rate"), ("lora.rank", "rank")):  # --set may say another one of either
        _fill(values, f"warmup.{key}", asked[name], asked["set_"])
        _fill(values, f"tuning.{key}", asked[name], asked["set_"])
    merged = _merged(CompareConfig, values, asked, given)
    merged = _grid(defaults) | {name: of for name, of in merged.items() if of is not None}
    config: CompareConfig = parse(CompareConfig, merged, _origin(given))
    _check_model(config)
    return config


def train_config(context: typer.Context) -> TrainConfig:
    """The configuration of a training, from the flags of `train`.

    Raises ConfigError listing every setting that cannot be used, ModelError where the model is not to be had.
    """
    asked, given = flags_of(context)[0], context.params.get("config")
    values: dict[str, Any] = {
        **{"data": asked["data"] or None, "out": _text(asked["out"])},
        "model": given_only({"name": asked["model"]}),
        "examples": examples_settings(asked["schema"], asked["column"], asked["on_bad_row"]),
        "tuning": _training(asked) | given_only({"seed": asked["seed"]}),
        "execution": given_only({"device": asked["device"]}),
    }
    merged = _merged(TrainConfig, values, asked, given)
    _check_said(context, "data", merged)
    config: TrainConfig = parse(TrainConfig, merged, _origin(given))
    _check_model(config)
    return config


def evaluate_config(context: typer.Context) -> EvaluateConfig:
    """The configuration of an evaluation, from the flags of `evaluate`.

    Raises ConfigError listing every setting that cannot be used, ModelError where the model is not to be had.
    """
    asked, given = flags_of(context)[0], context.params.get("config")
    values: dict[str, Any] = {
        **{"test": asked["test"] or None, "out": _text(asked["out"]), "adapter": _text(asked["adapter"])},
        "model": given_only({"name": asked["model"]}),
        "examples": examples_settings(asked["schema"], asked["column"], asked["on_bad_row"]),
        "evaluation": given_only({"tasks": asked["task"]}),
        "execution": given_only({"device": asked["device"]}),
    }
    config: EvaluateConfig = parse(EvaluateConfig, _merged(EvaluateConfig, values, asked, given), _origin(given))
    _check_model(config)
    return config


def inspect_config(context: typer.Context) -> InspectConfig:
    """What to look at, from the flags of `inspect`.

    Raises ConfigError listing every setting that cannot be used, ModelError where the model is not to be had.
    """
    asked, given = flags_of(context)[0], context.params.get("config")
    values: dict[str, Any] = {
        "files": asked["files"] or None,
        "model": given_only({"name": asked["model"]}),
        "examples": examples_settings(asked["schema"], asked["column"], None),
    }
    merged = _merged(InspectConfig, values, asked, given)
    _check_said(context, "files", merged)
    merged["model"] = merged.get("model") or None
    config: InspectConfig = parse(InspectConfig, merged, _origin(given))
    _check_model(config)
    return config


def _merged(
    model: type[Section], values: dict[str, Any], asked: Mapping[str, Any], given: Given | None
) -> dict[str, Any]:
    """The settings of flags, `values`, and of --set, over those of the file; `values` has what was given alone then."""
    _leave_unsaid(values)
    flags, sets = copy.deepcopy(values), asked["set_"] or []
    assign(values, sets)
    if given is None:
        return {name: of for name, of in values.items() if of is not None}
    if given.left_out:
        reporter().notice(
            f"{given.path}: {', '.join(given.left_out)} left out, which the run that wrote them passed over"
        )
    tell_of_other_choice(given.path, given.values, values)
    kept = without_what_followed(without_forms(model, given.values, values), values)
    merged = copy.deepcopy(over(model, kept, flags))
    assign(merged, sets, flags=False, model=model)  # as `g2is run` does: a.b.c=… is of one entry, whatever a.b is
    return merged


def _leave_unsaid(values: dict[str, Any]) -> None:
    """Take out what no flag says. --set may say null, or an empty mapping, and then means it."""
    for name, value in [*values.items()]:
        if isinstance(value, dict):
            _leave_unsaid(value)
        if value is None or value == {}:
            del values[name]


def _check_said(context: typer.Context, name: str, merged: Mapping[str, Any]) -> None:
    """Raise ConfigError if neither the command line nor the file of --config has what the argument `name` is for."""
    if not merged.get(name):
        told = next(of.help for of in context.command.params if of.name == name)  # type: ignore[attr-defined]
        raise ConfigError(missing(context.command_path, name.upper(), told))


def _origin(given: Given | None) -> str:
    return "the command line" if given is None else f"the command line and {given.path}"


def _check_model(config: Any) -> None:
    """Raise ModelError where the model is not to be had, before anything that takes seconds is imported."""
    if config.model is not None:
        from g2is.jobs.pinned import check_model

        check_model(config.model)


def _split_files(
    command: str, flags: Mapping[str, Any], given: Given | None
) -> tuple[list[str] | None, dict[str, list[str]] | None]:
    """The locations of the pool, and of each target by name; None for what the file is to say.

    Raises ConfigError if it cannot be told which is which.
    """
    usage = f"write `g2is {command} POOL TARGET`, or `g2is {command} POOL... --target [NAME=]TARGET`"
    files, targets = list(flags["files"] or ()), flags["target"]
    if given is not None and not (files and not targets):
        return files or None, read_targets(targets) if targets else None
    if targets:
        if not files:
            raise ConfigError(f"g2is {command}: expected the pool's files beside --target, found none; {usage}")
        return files, read_targets(targets)
    if len(files) != 2:
        found = f"{len(files)} file{'s' * (len(files) != 1)} and no --target"
        raise ConfigError(f"g2is {command}: expected a pool and a target, found {found}; {usage}")
    return files[:1], read_targets(files[1:])


def _selection(flags: Mapping[str, Any]) -> dict[str, Any]:
    return given_only(
        {
            **{name: flags.get(name) for name in _SELECTION},
            "shares": read_shares(flags["share"]) if flags.get("share") else None,
            "quotas": read_quotas(flags["quota"]) if flags.get("quota") else None,
        }
    )


def _grid(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Methods, budgets and seeds of a comparison."""
    return given_only({"methods": flags["methods"], "budgets": flags["budgets"], "num_seeds": flags["seeds"]})


def _training(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of a training."""
    lora = given_only({"rank": flags["rank"]})
    return given_only({"learning_rate": flags["learning_rate"], "lora": lora or None})


def _fill(values: dict[str, Any], key: str, value: Any, settings: Sequence[str] | None) -> None:
    """Put `value` under the dotted `key`, unless one of --set's `settings` gave that."""
    if value is None or any(text.partition("=")[0].strip() == key for text in settings or ()):
        return
    *sections, name = key.split(".")
    for section in sections:
        inner = values.get(section)
        if inner is not None and not isinstance(inner, Mapping):
            return  # which cannot be used, and is reported
        values[section] = values = dict(inner or {})
    values[name] = value


def _check_looked_at(flags: Mapping[str, Any], given: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise ConfigError if a setting was `asked` for, by flag or --set, that the selector does not look at.

    `given` is what that is chosen by; a file of a run has all settings in it.
    """
    try:
        SelectionConfig(**given)
    except TypeError:
        return  # names that are no words: reported with all other settings that cannot be used
    except ValidationError as error:
        if any(problem["loc"] for problem in error.errors()):
            return  # a value that a setting cannot have: so are these
    if found := [name for name in passed_over(given) if name in asked]:
        called = {name: _flag(name) if flags.get(name) is not None else f"selection.{name}" for name in found}
        raise ConfigError(not_read(given, called))


def _execution(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of how the work is shared, and whether a page of it is wanted."""
    shared = {name: flags.get(name) for name in ("device", "engine", "workers", "address")}
    report = False if flags.get("no_report") else None
    return given_only(shared | {"worker_resources": resources(flags.get("worker_resources")), "report": report})


def _text(path: Any) -> str | None:
    return None if path is None else str(path)


def _flag(name: str) -> str:
    """What the user calls a parameter."""
    return "POOL and TARGET" if name == "files" else f"--{name.replace('_', '-')}"
