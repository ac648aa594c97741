"""Cuts what is missing into shards and runs them one after the other in this process."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from g2is.config import GammaForm
from g2is.examples.tokenize import Rendered
from g2is.gradients.extract import Extractor
from g2is.model.batches import Row
from g2is.progress import Progress
from g2is.store.matrix import RowTable, Shard


class Tokenized(Protocol):
    """A table of tokenized examples with their content keys (N, 16) uint8."""

    keys: np.ndarray

    def take(self, rows: np.ndarray) -> Sequence[Rendered]:
        """The examples of `rows`, in the order given."""


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


def run_shards(work: Callable[[np.ndarray], Shard], rows: np.ndarray, table: RowTable) -> None:
    """Cut `rows` (n,) into shards, compute each with `work` and store it while the next is computed.

    A shard is stored whole before the one after the next begins, so a stop loses at most two; and as shards are cut in
    order and numbered from the lowest free number, going on cuts the very shards that an undisturbed run would have.
    """
    shards = [rows[start : start + table.shard_rows] for start in range(0, len(rows), table.shard_rows)]
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for number, shard in zip(table.next_shards(len(shards)), shards, strict=True):
            made = work(shard)
            if writing is not None:
                writing.result()
            writing = writer.submit(table.write, number, made)
        if writing is not None:
            writing.result()


def shard_work(
    extractor: Extractor, table: Tokenized, forms: Sequence[GammaForm], total: int, progress: Progress
) -> Callable[[np.ndarray], Shard]:
    """The function of a shard's rows that an engine runs for gradients; `total` is the tokens of all its shards."""
    add = _counter(total, progress)
    return lambda rows: extractor.extract(_token_rows(table, rows), table.keys[rows], forms, add)


def row_work(
    arrays_of: Callable[[Sequence[Row], Callable[[int], None]], Mapping[str, np.ndarray]],
    table: Tokenized,
    total: int,
    progress: Progress,
) -> Callable[[np.ndarray], Shard]:
    """The same for any other representation: `arrays_of` takes token rows and who is told of tokens done."""
    add = _counter(total, progress)
    return lambda rows: Shard(table.keys[rows], arrays_of(_token_rows(table, rows), add))


def _token_rows(table: Tokenized, rows: np.ndarray) -> list[Row]:
    return [(example.input_ids, example.label_mask) for example in table.take(rows)]


def _counter(total: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def add(num_tokens: int) -> None:
        nonlocal done
        done += num_tokens
        progress(done, total)

    return add
