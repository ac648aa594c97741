"""Gradient rows out of a store, as the matrices that core knowledge and walk take.

Over several checkpoints a row is the concatenation of each one's unit row times sqrt(w_i), w_i the checkpoint's weight
(method.md, several checkpoints), so that a dot product of two rows is the weighted sum of their cosines.
"""

from collections.abc import Sequence

import numpy as np

from g2is.config import GammaForm, Storage
from g2is.store.matrix import RowTable, Shard
from g2is.store.row_reader import RowReader
from g2is.store.rows import StoredRows, has_direction
from g2is.store.stored_as import encoded


def gradient_rows(
    table: RowTable, positions: np.ndarray, checkpoints: Sequence[tuple[str, float]], form: GammaForm
) -> RowReader:
    """The rows at `positions` (N,) under `checkpoints`, (name, weight) pairs whose weights sum to 1, to be read."""
    return RowReader(table, positions, [(f"{name}/{form}/", weight) for name, weight in checkpoints])


def rows_of_shard(shard: Shard, checkpoints: Sequence[tuple[str, float]], form: GammaForm) -> StoredRows:
    """The rows of an extracted `shard` that is stored nowhere, as `gradient_rows` reads those of one that is."""
    norm = np.stack([shard.arrays[f"{name}/{form}/norm"] for name, _ in checkpoints], 1)
    parts = [shard.arrays[f"{name}/{form}/rows"] * np.float16(weight**0.5) for name, weight in checkpoints]
    rows = np.concatenate(parts, axis=1)
    rows[~has_direction(norm).all(1)] = 0
    return StoredRows(rows, norm)


def stored_as(shard: Shard, storage: Storage) -> Shard:
    """The extracted `shard` with its rows in the form `storage`. Raises StoreError where that cannot hold them."""
    arrays = {
        name: encoded(values, storage) if name.endswith("/rows") else values for name, values in shard.arrays.items()
    }
    return Shard(shard.key, arrays)
