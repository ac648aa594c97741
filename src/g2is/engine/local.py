"""Cuts what is missing into shards and runs them one after the other in this process."""

from collections.abc import Callable

import numpy as np

from g2is.store.matrix import GradientTable, Shard


def missing_rows(keys: np.ndarray, stored: GradientTable) -> np.ndarray:
    """The first row of each content key of `keys` (N, 16) uint8 that `stored` does not hold, ascending, (n,) int64."""
    known = set(stored.positions())
    missing = []
    for row, key in enumerate(keys):
        content = key.tobytes()
        if content not in known:
            known.add(content)
            missing.append(row)
    return np.array(missing, np.int64)


def run_shards(work: Callable[[np.ndarray], Shard], rows: np.ndarray, table: GradientTable) -> None:
    """Cut `rows` (n,) into shards, compute each with `work` and store it.

    A shard is stored before the next begins, so a stop loses at most the shard in hand; and as shards are cut in order
    and numbered from the lowest free number, going on cuts the very shards that an undisturbed run would have.
    """
    shards = [rows[start : start + table.shard_rows] for start in range(0, len(rows), table.shard_rows)]
    for number, shard in zip(table.next_shards(len(shards)), shards, strict=True):
        table.write(number, work(shard))
