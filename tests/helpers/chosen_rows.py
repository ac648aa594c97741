"""Rows to choose among, what a selector chooses of them, and their cosines by plain NumPy, for tests of selectors."""

from collections.abc import Mapping, Sequence

import numpy as np

from g2is.config import SelectionConfig
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits
from g2is.selection.problem import Selected, TargetRows
from g2is.selection.similarity import UnitRows

K = 24


def drawn(seed: int, num_rows: int) -> np.ndarray:
    """Rows (num_rows, K) float16 that share a direction, so that few oppose each other."""
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(num_rows, K)) + np.eye(1, K)[0] * 2).astype(np.float16)


def chosen(
    pool: np.ndarray | UnitRows,
    targets: Mapping[str, np.ndarray],
    budget: int,
    limits: Limits | None = None,
    groups: Sequence[str | None] = (),
    **settings: object,
) -> Selected:
    """What the selector of `settings` chooses; the targets share the budget equally, `groups` are of every target."""
    rows = pool if isinstance(pool, UnitRows) else UnitRows(pool)
    of = SelectionConfig(**{"duplicate_threshold": None, **settings})
    each = {name: TargetRows(budget // len(targets), rows=rows, groups=groups) for name, rows in targets.items()}
    return apply_selector(rows.num_rows, rows, each, of, limits or Limits())


def units(rows: np.ndarray) -> np.ndarray:
    """The rows at unit length, float64; zero rows stay."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    found: np.ndarray = rows.astype(np.float64) / np.where(lengths > 0, lengths, 1)
    return found


def cosines(pool: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The cosines (N, M) of the rows of a pool with those of a target."""
    found: np.ndarray = units(pool) @ units(target).T
    return found
