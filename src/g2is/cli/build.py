"""From flags to a validated configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from g2is.cli.options import assign
from g2is.config import Config, MatrixWalkConfig
from g2is.config_io import parse
from g2is.errors import ConfigError
from g2is.targets import read_quotas, read_shares, read_targets

_ORIGIN = "the command line"


def run_config(
    pool: Path,
    target: Path | None,
    targets: Sequence[str] | None,
    model: str,
    out: Path,
    store: Path | None,
    settings: Sequence[str] | None,
    device: str | None = None,
    shares: Sequence[str] | None = None,
    quotas: Sequence[str] | None = None,
    **selection: Any,
) -> Config:
    """The configuration of a run. Raises ConfigError listing every setting that cannot be used."""
    if (target is None) == (not targets):
        found = f"both: {target} and --target {' '.join(targets)}" if targets else "neither"
        raise ConfigError(f"expected TARGET, or --target [NAME=]FILE once for each target, found {found}")
    selection |= {
        "shares": read_shares(shares) if shares else None,
        "quotas": read_quotas(quotas) if quotas else None,
    }
    values: dict[str, Any] = {
        "pool": str(pool),
        "targets": read_targets(targets) if targets else str(target),
        "out": str(out),
        "store": store,
        "model": {"name": model},
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
