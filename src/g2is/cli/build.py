"""From flags to a validated configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from g2is.cli.options import assign, examples_settings, given_only, resources
from g2is.config import Config, EvaluateConfig, InspectConfig, MatrixWalkConfig, SelectionConfig, TrainConfig
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.config.passed_over import not_read, passed_over
from g2is.config.targets import read_quotas, read_shares, read_targets
from g2is.errors import ConfigError

_ORIGIN = "the command line"


_SELECTION = (
    *("method", "budget", "include", "exclude", "exclude_overlap"),
    *("core_mode", "core_fraction", "delta"),
)
_ONLY_EXAMPLES = (
    *("files", "target", "model", "store", "device", "engine", "workers", "address", "worker_resources"),
    *("adapter", "schema", "column", "on_bad_row"),
    *("share", "quota", "include", "exclude", "exclude_overlap"),
)


def run_config(command: str, flags: Mapping[str, Any]) -> Config:
    """The configuration of a run of `command`, from its flags by parameter name.

    Raises ConfigError listing every setting that cannot be used.
    """
    pool, targets = _split_files(command, flags["files"], flags["target"])
    selection = {name: flags.get(name) for name in _SELECTION} | {
        "shares": read_shares(flags["share"]) if flags.get("share") else None,
        "quotas": read_quotas(flags["quota"]) if flags.get("quota") else None,
    }
    values: dict[str, Any] = {
        "pool": pool,
        "targets": targets,
        "out": str(flags["out"]),
        "store": flags["store"],
        "model": {"name": flags["model"]},
        "examples": examples_settings(flags["schema"], flags["column"], flags["on_bad_row"]),
        "warmup": given_only({"adapter": flags["adapter"]}),
        "selection": given_only(selection),
        "execution": _execution(flags) | given_only({"report": False if flags.get("no_report") else None}),
    }
    assign(values, flags["set_"] or [])
    _check_looked_at(flags, values["selection"])
    config: Config = parse(Config, values, _ORIGIN)
    return config


def matrix_walk_config(flags: Mapping[str, Any]) -> MatrixWalkConfig:
    """The configuration of a walk on matrices, from the flags of `walk` by parameter name.

    Raises ConfigError listing every setting that cannot be used.
    """
    if found := [_flag(name) for name in _ONLY_EXAMPLES if flags.get(name)]:
        raise ConfigError(
            "g2is walk: expected either POOL, TARGET and --model (and what goes with them), or --pool-gradients and"
            f" --target-gradients; found matrices and {', '.join(found)}. Leave one or the other out"
        )
    for name in ("pool_gradients", "target_gradients"):
        if flags[name] is None:
            raise ConfigError(
                "g2is walk: expected --pool-gradients and --target-gradients together, found no " + _flag(name)
            )
    values: dict[str, Any] = {
        **{name: flags[name] for name in ("pool_gradients", "target_gradients", "graph", "out")},
        "selection": given_only({name: flags.get(name) for name in _SELECTION}),
    }
    assign(values, flags["set_"] or [])
    _check_looked_at(flags, values["selection"])
    config: MatrixWalkConfig = parse(MatrixWalkConfig, values, _ORIGIN)
    return config


def compare_config(flags: Mapping[str, Any]) -> CompareConfig:
    """The configuration of a comparison, from the flags of `compare` by parameter name.

    Raises ConfigError listing every setting that cannot be used.
    """
    pool, targets = _split_files("compare", flags["files"], flags["target"])
    values: dict[str, Any] = {
        "pool": pool,
        "targets": targets,
        "tests": read_targets(flags["test"]),
        "out": str(flags["out"]),
        "model": {"name": flags["model"]},
        "methods": flags["methods"],
        "budgets": flags["budgets"],
        "num_seeds": flags["seeds"],
        "examples": examples_settings(flags["schema"], flags["column"], flags["on_bad_row"]),
        "execution": _execution(flags),
    }
    assign(values, flags["set_"] or [])
    config: CompareConfig = parse(CompareConfig, values, _ORIGIN)
    return config


def train_config(
    data: Sequence[str], model: str, out: Path, settings: Sequence[str] | None, device: str | None
) -> TrainConfig:
    """The configuration of a training. Raises ConfigError listing every setting that cannot be used."""
    values: dict[str, Any] = {
        "data": list(data),
        "out": str(out),
        "model": {"name": model},
        "execution": given_only({"device": device}),
    }
    assign(values, settings or [])
    config: TrainConfig = parse(TrainConfig, values, _ORIGIN)
    return config


def evaluate_config(flags: Mapping[str, Any]) -> EvaluateConfig:
    """The configuration of an evaluation, from the flags of `evaluate` by parameter name.

    Raises ConfigError listing every setting that cannot be used.
    """
    values: dict[str, Any] = {
        "test": list(flags["test"] or ()),
        **given_only({name: flags[name] for name in ("out", "adapter")}),
        "model": {"name": flags["model"]},
        "examples": examples_settings(flags["schema"], flags["column"], flags["on_bad_row"]),
        "evaluation": given_only({"tasks": flags["task"]}),
        "execution": given_only({"device": flags["device"]}),
    }
    assign(values, flags["set_"] or [])
    config: EvaluateConfig = parse(EvaluateConfig, values, _ORIGIN)
    return config


def inspect_config(
    files: Sequence[str],
    model: str | None,
    schema: str | None,
    columns: Sequence[str] | None,
    settings: Sequence[str] | None,
) -> InspectConfig:
    """What to look at. Raises ConfigError listing every setting that cannot be used."""
    values: dict[str, Any] = {
        "files": list(files),
        "model": given_only({"name": model}),
        "examples": examples_settings(schema, columns, None),
    }
    assign(values, settings or [])
    values["model"] = values["model"] or None
    config: InspectConfig = parse(InspectConfig, values, _ORIGIN)
    return config


def _split_files(
    command: str, files: Sequence[str] | None, targets: Sequence[str] | None
) -> tuple[list[str], dict[str, list[str]]]:
    """The locations of the pool, and of each target by name. Raises ConfigError if it cannot be told which is which."""
    usage = f"write `g2is {command} POOL TARGET`, or `g2is {command} POOL... --target [NAME=]TARGET`"
    files = list(files or ())
    if targets:
        if not files:
            raise ConfigError(f"g2is {command}: expected the pool's files beside --target, found none; {usage}")
        return files, read_targets(targets)
    if len(files) != 2:
        found = f"{len(files)} file{'s' * (len(files) != 1)} and no --target"
        raise ConfigError(f"g2is {command}: expected a pool and a target, found {found}; {usage}")
    return files[:1], read_targets(files[1:])


def _check_looked_at(flags: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise ConfigError if a setting was given, by flag or --set, that the selector does not look at."""
    try:
        SelectionConfig(**given)
    except TypeError:
        return  # names that are no words: reported with all other settings that cannot be used
    except ValidationError as error:
        if any(problem["loc"] for problem in error.errors()):
            return  # a value that a setting cannot have: so are these
    if found := passed_over(given):
        called = {name: _flag(name) if flags.get(name) is not None else f"selection.{name}" for name in found}
        raise ConfigError(not_read(given, called))


def _execution(flags: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of how the work is shared."""
    shared = {name: flags.get(name) for name in ("device", "engine", "workers", "address")}
    return given_only(shared | {"worker_resources": resources(flags.get("worker_resources"))})


def _flag(name: str) -> str:
    """What the user calls a parameter."""
    return "POOL and TARGET" if name == "files" else f"--{name.replace('_', '-')}"
