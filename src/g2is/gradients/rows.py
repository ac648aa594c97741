"""Stored rows as the matrices that core knowledge and walk read, checkpoints weighted at read time.

Over several checkpoints a row is the concatenation of each one's unit row times sqrt(w_i), w_i the checkpoint's weight
(method.md, several checkpoints), so that a dot product of two rows is the weighted sum of their cosines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from g2is.config import GammaForm
from g2is.gradients.extract import has_direction
from g2is.store.matrix import GradientTable


@dataclass(frozen=True)
class GradientRows:
    """Rows read from a store, in the order asked for.

    `rows` is (N, C·k): float16 unit vectors, zeros where a row is set aside; `norm` (N, C) and `loss` (N, C) float32,
    one column a checkpoint.
    """

    rows: np.ndarray
    norm: np.ndarray
    loss: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Which rows can be nodes, (N,) bool: those with a direction under every checkpoint."""
        return np.asarray(has_direction(self.norm).all(1))

    def unnormalized(self) -> np.ndarray:
        """The usable rows' projected gradients with their lengths, (U, C·k) float32."""
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
    loss = np.stack([table.read(f"{name}/loss", positions) for name, _ in checkpoints], 1)
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
    return GradientRows(rows, norm, loss)


def _reason(norms: np.ndarray) -> str:
    if np.isnan(norms).any():
        return "NaN gradient"
    return "infinite gradient" if np.isinf(norms).any() else "zero gradient"
