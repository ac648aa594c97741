"""Cuts what is missing into shards and runs them one after the other in this process."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from g2is.config import GammaForm
from g2is.gradients.extract import Extractor
from g2is.model.batches import Row
from g2is.progress import Progress, counter
from g2is.store.matrix import RowTable, Shard


def missing_rows(keys: np.ndarray, stored: RowTable) -> np.ndarray:
    """The first row of each content key of `keys` (N, 16) uint8 that `stored` does not hold, ascending, (n,) int64."""
    known = set(stored.positions())
    missing = []
    for row, key in enumerate(keys):
        content = key.tobytes()
        if content not in known:
            known.add(content)
            missing.append(row)
    return np.array(missing, np.int64)


def run_shards(
    read: Callable[[np.ndarray], list[Row]],
    work: Callable[[np.ndarray, list[Row]], Shard],
    rows: np.ndarray,
    table: RowTable,
) -> None:
    """Cut `rows` (n,) into shards; `read` the next one's tokens and store the last one while `work` computes one.

    A shard is stored whole before the one after the next begins, so a stop loses at most two; and as shards are cut in
    order and numbered from the lowest free number, going on cuts the very shards that an undisturbed run would have.
    """
    shards = [rows[start : start + table.shard_rows] for start in range(0, len(rows), table.shard_rows)]
    with ThreadPoolExecutor(2) as beside:
        reading = [beside.submit(read, shard) for shard in shards[:1]]
        writing: list[Future[None]] = []
        for i, number in enumerate(table.next_shards(len(shards))):
            token_rows = reading.pop().result()
            reading += [beside.submit(read, shard) for shard in shards[i + 1 : i + 2]]
            made = work(shards[i], token_rows)
            for last in writing:
                last.result()
            writing = [beside.submit(table.write, number, made)]
        for last in writing:
            last.result()


def gradient_work(
    extractor: Extractor, keys: np.ndarray, forms: Sequence[GammaForm], total: int, progress: Progress
) -> Callable[[np.ndarray, list[Row]], Shard]:
    """The function of a shard's rows and their tokens that an engine runs for gradients.

    `keys` (N, 16) uint8 are those of the whole table, `total` the tokens of all shards.
    """
    add = counter(total, progress)
    return lambda rows, token_rows: extractor.extract(token_rows, keys[rows], forms, add)


def row_work(
    arrays_of: Callable[[Sequence[Row], Callable[[int], None]], Mapping[str, np.ndarray]],
    keys: np.ndarray,
    total: int,
    progress: Progress,
) -> Callable[[np.ndarray, list[Row]], Shard]:
    """The same for any other representation: `arrays_of` takes token rows and who is told of tokens done."""
    add = counter(total, progress)
    return lambda rows, token_rows: Shard(keys[rows], arrays_of(token_rows, add))
