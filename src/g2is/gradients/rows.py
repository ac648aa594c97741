"""Gradient rows out of a store, as the matrices that core knowledge and walk take.

Over several checkpoints a row is the concatenation of each one's unit row times sqrt(w_i), w_i the checkpoint's weight
(method.md, several checkpoints), so that a dot product of two rows is the weighted sum of their cosines.
"""

from collections.abc import Sequence

import numpy as np

from g2is.config import GammaForm, Storage
from g2is.store.matrix import RowTable, Shard
from g2is.store.row_reader import RowReader
from g2is.store.stored_as import encoded


def gradient_rows(
    table: RowTable, positions: np.ndarray, checkpoints: Sequence[tuple[str, float]], form: GammaForm
) -> RowReader:
    """The rows at `positions` (N,) under `checkpoints`, (name, weight) pairs whose weights sum to 1, to be read."""
    return RowReader(table, positions, [(f"{name}/{form}/", weight) for name, weight in checkpoints])


def stored_as(shard: Shard, storage: Storage) -> Shard:
    """The extracted `shard` with its rows in the form `storage`. Raises StoreError where that cannot hold them."""
    arrays = {
        name: encoded(values, storage) if name.endswith("/rows") else values for name, values in shard.arrays.items()
    }
    return Shard(shard.key, arrays)
