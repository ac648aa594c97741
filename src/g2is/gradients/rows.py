"""Gradient rows out of a store, as the matrices that core knowledge and walk take.

Over several checkpoints a row is the concatenation of each one's unit row times sqrt(w_i), w_i the checkpoint's weight
(method.md, several checkpoints), so that a dot product of two rows is the weighted sum of their cosines.
"""

from collections.abc import Callable, Sequence

import numpy as np

from g2is.config import GammaForm
from g2is.store.matrix import RowTable
from g2is.store.rows import StoredRows, has_direction, room_for_rows


def read_rows(
    table: RowTable,
    positions: np.ndarray,
    checkpoints: Sequence[tuple[str, float]],
    form: GammaForm,
    progress: Callable[[int], None] = lambda _: None,
) -> StoredRows:
    """Read the rows at `positions` (N,) under `checkpoints`, (name, weight) pairs whose weights sum to 1.

    `progress` is told of rows read, once for each checkpoint.
    """
    norm = np.stack([table.read(f"{name}/{form}/norm", positions) for name, _ in checkpoints], 1)
    width = table.width(f"{checkpoints[0][0]}/{form}/rows")
    rows = room_for_rows((len(positions), len(checkpoints) * width), table.path)
    for i, (name, weight) in enumerate(checkpoints):
        part = rows[:, i * width : (i + 1) * width]
        table.read(f"{name}/{form}/rows", positions, part, progress)
        if weight != 1:
            part *= np.float16(weight**0.5)
    usable = has_direction(norm).all(1)
    if not usable.all():
        rows[~usable] = 0  # a row without a direction under one checkpoint is not half a row under the others
    return StoredRows(rows, norm)
