"""Rows to choose from, drawn and real, and how far two selections agree: for what makes choosing cheaper."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import g2is
from common import base6m
from common.places import BASE6M, POOL, target_file
from common.small_pool import TARGETS
from common.synthetic import Clusters
from g2is.config import SelectionConfig
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows


@dataclass(frozen=True)
class Rows:
    """Pool (N, k) float16 and the rows (M, k) of each target."""

    pool: NDArray[np.float16]
    targets: Mapping[str, np.ndarray]


def drawn_rows(num_rows: int, k: int = 1024) -> Rows:
    clusters = Clusters(k)
    targets = {f"clusters, seed {seed}": clusters.rows(32, seed=100 + seed, of=6) for seed in range(2)}
    return Rows(clusters.rows(num_rows, seed=1), targets)


def real_rows(work: Path, num_rows: int) -> Rows:
    """Gradients of base6m, momentum-free, of rows of the shared pool drawn with seed 0; made in `work` once."""
    work.mkdir(parents=True, exist_ok=True)
    pool = work / "pool.jsonl"
    with gzip.open(POOL, "rt", encoding="utf-8") as file:
        lines = file.readlines()
    rows = np.sort(np.random.default_rng(0).choice(len(lines), num_rows, replace=False))
    pool.write_text("".join(lines[row] for row in rows), encoding="utf-8")
    found = g2is.extract_gradients(
        pool=pool,
        target={name: target_file(name, "dev") for name in TARGETS},
        model=BASE6M,
        out=work / "run",
        store=work / "store",
        warmup=base6m.WARMUP,
        gradients={"projection": {"dim": 4096}},
        execution=base6m.EXECUTION,
    )
    return Rows(found.pool, found.targets)


def chosen(
    rows: UnitRows, target: np.ndarray, method: str, budget: int, places: np.ndarray | None = None, **more: object
) -> list[int]:
    """What `method` selects of the pool's `rows`, or of those at `places`."""
    settings = SelectionConfig(method=method, **more)
    num_rows = rows.num_rows if places is None else int(places.max()) + 1
    of_target = {"t": TargetRows(budget, rows=target)}
    selected = apply_selector(num_rows, rows, of_target, settings, Limits(), places=places)
    taken: list[int] = selected.record.rows.tolist()
    return taken


def shared(one: list[int], other: list[int]) -> float:
    """The share of rows that two selections have in common."""
    return round(len(set(one) & set(other)) / max(len(one), len(other)), 4)


def told(pool: UnitRows, target: np.ndarray, selection: list[int]) -> float:
    """The share of the target examples' variance that a selection explains, as `design` counts, by float16 rows."""
    units = pool.over_units(np.array(selection), lambda found: found)
    examples = UnitRows(target).over_units(np.arange(len(target)), lambda found: found)
    covariances = units @ examples.T
    explained = np.sum(covariances * np.linalg.solve(units @ units.T + np.eye(len(units)), covariances), axis=0)
    return round(float(explained.mean()), 4)
