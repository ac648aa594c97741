"""Gradient rows out of a store, as the matrices that core knowledge and walk take.

Over several checkpoints a row is the concatenation of each one's unit row times sqrt(w_i), w_i the checkpoint's weight
(method.md, several checkpoints), so that a dot product of two rows is the weighted sum of their cosines.
"""

from collections.abc import Sequence

import numpy as np

from g2is.config import GammaForm
from g2is.store.matrix import RowTable
from g2is.store.row_reader import RowReader


def gradient_rows(
    table: RowTable, positions: np.ndarray, checkpoints: Sequence[tuple[str, float]], form: GammaForm
) -> RowReader:
    """The rows at `positions` (N,) under `checkpoints`, (name, weight) pairs whose weights sum to 1, to be read."""
    return RowReader(table, positions, [(f"{name}/{form}/", weight) for name, weight in checkpoints])
