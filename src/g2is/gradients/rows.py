"""Gradient rows out of a store, as the matrices that core knowledge and walk take.

Over several checkpoints a row is the concatenation of each one's unit row times sqrt(w_i), w_i the checkpoint's weight
(method.md, several checkpoints), so that a dot product of two rows is the weighted sum of their cosines.
"""

from collections.abc import Sequence

import numpy as np

from g2is.config import GammaForm
from g2is.store.matrix import RowTable
from g2is.store.rows import StoredRows, has_direction


def read_rows(
    table: RowTable, positions: np.ndarray, checkpoints: Sequence[tuple[str, float]], form: GammaForm
) -> StoredRows:
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
    return StoredRows(rows, norm)
