"""Unit rows: how projected gradients are stored, and read again as the matrices that core knowledge and walk take.

Over several checkpoints a row is the concatenation of each one's unit row times sqrt(w_i), w_i the checkpoint's weight
(method.md, several checkpoints), so that a dot product of two rows is the weighted sum of their cosines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from g2is.config import GammaForm
from g2is.store.matrix import FormRows, GradientTable


def unit_rows(projected: np.ndarray) -> FormRows:
    """Scale each row of `projected` (R, k) float32 to length 1 as float16, with its norm as float32.

    This is the one place that decides about rows without a direction: where the norm is 0, NaN or Inf the row is zeros.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.sqrt(np.einsum("rk,rk->r", projected, projected, dtype=np.float64)).astype(np.float32)
    usable = has_direction(norm)
    scale = np.zeros_like(norm)
    np.divide(1, norm, out=scale, where=usable)
    rows = np.where(usable[:, None], projected, 0) * scale[:, None]
    return FormRows(rows.astype(np.float16), norm)


def has_direction(norm: np.ndarray) -> np.ndarray:
    """Which rows can be nodes: norm finite and above 0 (by what float32 can invert). (R,) float to (R,) bool."""
    return np.isfinite(norm) & (norm >= np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class GradientRows:
    """Rows read from a store, in the order asked for.

    `rows` is (N, C·k): float16 unit vectors, zeros where a row is set aside; `norm` (N, C) float32, one column a
    checkpoint.
    """

    rows: np.ndarray
    norm: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Which rows can be nodes, (N,) bool: those with a direction under every checkpoint."""
        return np.asarray(has_direction(self.norm).all(1))

    def unnormalized(self) -> np.ndarray:
        """The usable rows with the lengths of their projected gradients, (U, C·k) float32; sqrt(w_i) stays in."""
        num_rows, num_checkpoints = self.norm.shape
        by_checkpoint = self.rows.reshape(num_rows, num_checkpoints, -1)[self.usable].astype(np.float32)
        return (by_checkpoint * self.norm[self.usable][:, :, None]).reshape(len(by_checkpoint), -1)

    def reasons(self) -> dict[int, str]:
        """Row -> why it is set aside."""
        return {int(row): _reason(self.norm[row]) for row in np.flatnonzero(~self.usable)}


def read_rows(
    table: GradientTable, positions: np.ndarray, checkpoints: Sequence[tuple[str, float]], form: GammaForm
) -> GradientRows:
    """Read the rows at `positions` (N,) under `checkpoints`, (name, weight) pairs whose weights sum to 1."""
    norm = np.stack([table.read(f"{name}/{form}/norm", positions) for name, _ in checkpoints], 1)
    parts = []
    for name, weight in checkpoints:
        part = table.read(f"{name}/{form}/rows", positions)
        if weight != 1:
            part *= np.float16(weight**0.5)
        parts.append(part)
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
    usable = has_direction(norm).all(1)
    if not usable.all():
        rows[~usable] = 0  # a row without a direction under one checkpoint is not half a row under the others
    return GradientRows(rows, norm)


def _reason(norms: np.ndarray) -> str:
    if np.isnan(norms).any():
        return "NaN gradient"
    return "infinite gradient" if np.isinf(norms).any() else "zero gradient"
