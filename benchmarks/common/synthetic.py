"""Unit rows to walk on, drawn like those of ../shared/golden: clusters, and a direction that all rows share."""

import numpy as np
from numpy.typing import NDArray

from g2is.store.matrix import RowTable, Shard
from g2is.store.rows import UnitVectors

_SHARED, _CLUSTER, _OWN = 0.3, 0.5, 0.8  # of a row: what all share, what its cluster shares, its own
_BLOCK = 4096


class Clusters:
    """`num` cluster centres in a few dimensions of k, so that some of them oppose each other."""

    def __init__(self, k: int, num: int = 64, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.standard_normal((k, 17)))[0].T.astype(np.float32)
        places = rng.standard_normal((num, 16)).astype(np.float32)
        self._centres = places / np.linalg.norm(places, axis=1, keepdims=True) @ basis[1:]
        self._shared = basis[0]

    def rows(self, num_rows: int, seed: int, of: int | None = None) -> NDArray[np.float16]:
        """(num_rows, k) unit rows as a store holds them, drawn a block at a time from the first `of` clusters."""
        rng = np.random.default_rng(seed)
        centres = self._centres[:of]
        rows = np.empty((num_rows, len(self._shared)), np.float16)
        for start in range(0, num_rows, _BLOCK):
            block = rows[start : start + _BLOCK]
            drawn = rng.standard_normal(block.shape, dtype=np.float32)
            drawn *= _OWN / np.sqrt(block.shape[1])
            drawn += _SHARED * self._shared + _CLUSTER * centres[rng.integers(0, len(centres), len(block))]
            drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
            block[:] = drawn
        return rows

    def store(
        self, table: RowTable, keys: NDArray[np.uint8], seed: int, of: int | None = None, prefix: str = ""
    ) -> None:
        """Write a row for each of `keys` (n, 16) to an empty `table`; the i-th shard is `rows` with seed `seed` + i."""
        for number, low in enumerate(range(0, len(keys), table.shard_rows)):
            of_shard = keys[low : low + table.shard_rows]
            rows = self.rows(len(of_shard), seed + number, of)
            table.write(number, Shard(of_shard, UnitVectors(rows, np.ones(len(rows), np.float32)).arrays(prefix)))
