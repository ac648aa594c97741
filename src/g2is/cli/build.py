"""From flags to a validated configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from g2is.cli.options import assign
from g2is.config import Config, MatrixWalkConfig, TrainConfig
from g2is.config_io import parse
from g2is.errors import ConfigError

_ORIGIN = "the command line"


def run_config(
    pool: Path,
    target: Path,
    model: str,
    out: Path,
    store: Path | None,
    settings: Sequence[str] | None,
    device: str | None = None,
    adapter: Path | None = None,
    **selection: Any,
) -> Config:
    """The configuration of a run. Raises ConfigError listing every setting that cannot be used."""
    values: dict[str, Any] = {
        "pool": str(pool),
        "target": str(target),
        "out": str(out),
        "store": store,
        "model": {"name": model},
        "warmup": _given({"adapter": adapter}),
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


def train_config(data: Path, model: str, out: Path, settings: Sequence[str] | None, device: str | None) -> TrainConfig:
    """The configuration of a training. Raises ConfigError listing every setting that cannot be used."""
    values: dict[str, Any] = {
        "data": str(data),
        "out": str(out),
        "model": {"name": model},
        "execution": _given({"device": device}),
    }
    assign(values, settings or [])
    config: TrainConfig = parse(TrainConfig, values, _ORIGIN)
    return config


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value is not None}
