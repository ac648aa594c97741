"""From flags to a validated configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from g2is.cli.options import assign
from g2is.config import Config, MatrixWalkConfig
from g2is.config_io import parse
from g2is.errors import ConfigError

_ORIGIN = "the command line"


def run_config(
    pool: Sequence[str],
    target: Sequence[str],
    model: str,
    out: Path,
    store: Path | None,
    settings: Sequence[str] | None,
    device: str | None = None,
    examples: Mapping[str, Any] | None = None,
    **selection: Any,
) -> Config:
    """The configuration of a run. Raises ConfigError listing every setting that cannot be used."""
    values: dict[str, Any] = {
        "pool": list(pool),
        "target": list(target),
        "out": str(out),
        "store": store,
        "model": {"name": model},
        "examples": dict(examples or {}),
        "selection": _given(selection),
        "execution": _given({"device": device}),
    }
    assign(values, settings or [])
    config: Config = parse(Config, values, _ORIGIN)
    return config


def matrix_walk_config(
    pool: Path | None,
    target: Path | None,
    graph: Path | None,
    out: Path,
    settings: Sequence[str] | None,
    **selection: Any,
) -> MatrixWalkConfig:
    """The configuration of a walk on matrices. Raises ConfigError listing every setting that cannot be used."""
    if pool is None or target is None:
        missing = "--pool-gradients" if pool is None else "--target-gradients"
        raise ConfigError(f"g2is walk: expected --pool-gradients and --target-gradients together, found no {missing}")
    values: dict[str, Any] = {
        "pool_gradients": str(pool),
        "target_gradients": str(target),
        "graph": None if graph is None else str(graph),
        "out": str(out),
        "selection": _given(selection),
    }
    assign(values, settings or [])
    config: MatrixWalkConfig = parse(MatrixWalkConfig, values, _ORIGIN)
    return config


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value is not None}
