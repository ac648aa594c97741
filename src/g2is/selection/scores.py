"""Similarity of pool rows to core knowledge and to target rows, for selectors other than the walk and for reports."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from g2is.selection.arrays import GRAIN, Floats, Mask
from g2is.selection.core import CoreKnowledge
from g2is.selection.files import check_k
from g2is.selection.similarity import UnitRows


@dataclass(frozen=True)
class Scores:
    """Similarity of each pool row to core knowledge; NaN for a zero row, which has no direction.

    cosines     (N, C) float32, with each component
    core_score  (N,) float32, the core knowledge score: Σ_c w_c · cos(Γ, K_c), w the components' variance over its sum
    """

    cosines: NDArray[np.float32]
    core_score: NDArray[np.float32]


def scores(pool: np.ndarray | torch.Tensor | UnitRows, core: CoreKnowledge) -> Scores:
    """Score `pool` (N, k), normalised or not, against `core`.

    The paper's "w/o graph" ablation takes the rows that score best but does not say how several components make one
    score. Here each counts by its variance, as it does for the budget, and with its sign: a row that points away from
    a component loses by it, so orient the components. Computed in float64 and rounded to float32.

    Raises MatrixError if the pool cannot be used or k differs.
    """
    cosines, score = core_scores(pool if isinstance(pool, UnitRows) else UnitRows(pool), core)
    return Scores(cosines.astype(np.float32), score.astype(np.float32))


def core_columns(rows: UnitRows, core: Mapping[str, CoreKnowledge]) -> dict[str, np.ndarray]:
    """Columns (N,) float32 of scores.parquet: the core knowledge score for each target of `core`."""
    return {f"similarity_to_core.{name}": scores(rows, knowledge).core_score for name, knowledge in core.items()}


def core_scores(rows: UnitRows, core: CoreKnowledge) -> tuple[Floats, Floats]:
    """What `scores` rounds: cosines (N, C) and score (N,) in float64. Raises MatrixError if k differs."""
    check_k(rows.k, core.components.shape[1], "core knowledge")
    total = core.variance.sum()
    weights = core.variance / total if total > 0 else np.full(len(core.variance), 1 / len(core.variance))
    cosines = rows.over_units(np.arange(rows.num_rows), lambda units: units @ core.components.T)
    cosines[~rows.nodes] = np.nan
    return cosines, cosines @ weights


def nearest_target(
    pool_rows: np.ndarray | torch.Tensor, target_gradients: np.ndarray | torch.Tensor
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each of `pool_rows` (n, k) the target row (M, k) of highest cosine: its index (n,) and that cosine (n,).

    Ties go to the lowest index. A zero target row is nearest to nothing; a zero pool row, or any where all target rows
    are zero, gets index -1 and cosine NaN.

    Raises MatrixError if either matrix cannot be used or k differs.
    """
    rows = UnitRows(pool_rows)
    targets = UnitRows(target_gradients, what="target gradients")
    check_k(rows.k, targets.k, "target gradients")
    directions = targets.over_units(np.arange(targets.num_rows), lambda units: units)

    def nearest(units: Floats) -> Floats:
        cosines = np.where(targets.nodes, units @ directions.T, -np.inf)
        best = cosines.max(axis=1)
        return np.stack([np.argmax(cosines >= best[:, None] - GRAIN, axis=1), best], axis=1)

    found = rows.over_units(np.arange(rows.num_rows), nearest)
    without: Mask = ~rows.nodes | ~np.isfinite(found[:, 1])
    indices = np.where(without, -1, found[:, 0]).astype(np.intp)
    return indices, np.where(without, np.nan, found[:, 1]).astype(np.float32)
