"""The very rows that a method looked at, as a report compares them: unit vectors in float32, shard by shard."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2is.config import Config
from g2is.examples.dataset import Examples
from g2is.jobs.preconditioned import rows_looked_at
from g2is.jobs.representation import MadeBy, UnitRowsOf, read_pool_and_targets
from g2is.representations.lexical import NO_TERM
from g2is.representations.maker import Maker
from g2is.store.manifest import Store
from g2is.store.row_reader import RowReader
from g2is.store.stored_as import decoded

Floats = NDArray[np.float32]
_TERM_PLACES = 4096  # that terms are counted in: few of a row's share one
_TERM_ROWS = 1024  # made into vectors at a time


@dataclass(frozen=True, eq=False)
class Looked:
    """The rows a method looked at: `what` one is; `targets` (T, k) unit rows of all targets, zeros without direction.

    `usable` (N,) bool of the pool's. `blocks(places)` gives, for `places` (n,) ascending, where rows stand among them
    (b,) and the rows (b, k), unit vectors or zeros. `noise` is how far a cosine may be off 0 by chance; None where rows
    cannot conflict.
    """

    what: str
    targets: Floats
    usable: NDArray[np.bool_]
    blocks: Callable[[NDArray[np.int64]], Iterator[tuple[NDArray[np.int64], Floats]]]
    noise: float | None

    def rows(self, places: NDArray[np.int64]) -> Floats:
        """The rows at `places` (n,), in any order: (n, k)."""
        order = np.argsort(places, kind="stable")
        found = np.zeros((len(places), self.targets.shape[1]), np.float32)
        for at, block in self.blocks(places[order]):
            found[order[at]] = block
        return found


def looked_at(config: Config, store: Store, examples: Examples, made_by: MadeBy) -> Looked | None:
    """The stored rows that the run's method looked at; None where it looked at nothing, or at no vectors.

    Raises StoreError if some are missing or damaged, FingerprintError if they were made otherwise.
    """
    if made_by is None:
        return None
    if not isinstance(made_by, Maker):
        looked = rows_looked_at(config, store, examples, made_by)
        return _vectors(looked, 2 / looked.pool.num_coordinates**0.5)
    if made_by.score is not None:  # other numbers than terms are of no use to draw a map of
        return _terms(made_by, store, examples) if made_by.array == "terms" else None
    found = read_pool_and_targets(made_by, store, examples)
    assert isinstance(found, UnitRowsOf)
    return _vectors(found, 0.0)


def _vectors(found: UnitRowsOf, noise: float) -> Looked:
    pool: RowReader = found.pool

    def blocks(places: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        for at, stored in pool.blocks(places):
            rows = decoded(stored).astype(np.float32)
            rows[~pool.usable[places[at]]] = 0
            yield at, _unit(rows)

    targets = [_unit(of.units().astype(np.float32)) for of in found.targets.values()]
    return Looked(pool.what, np.concatenate(targets), pool.usable, blocks, noise)


def _terms(made_by: Maker, store: Store, examples: Examples) -> Looked:
    """Terms as vectors, counted by the places of their hashes and weighted by how rare they are in the pool."""
    tables = store.tables(made_by.name, made_by.fingerprint)
    pool = tables["pool"].read("terms", tables["pool"].positions_of(examples.pool.keys))
    targets = [
        tables["target"].read("terms", tables["target"].positions_of(of.keys)) for of in examples.targets.values()
    ]
    held = np.zeros(_TERM_PLACES)
    for low in range(0, len(pool), _TERM_ROWS):
        held += (_counts(pool[low : low + _TERM_ROWS]) > 0).sum(0)
    rarity = np.log1p(len(pool) / (held + 1)).astype(np.float32)

    def blocks(places: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        for low in range(0, len(places), _TERM_ROWS):
            some = places[low : low + _TERM_ROWS]
            yield np.arange(low, low + len(some)), _unit(np.log1p(_counts(pool[some])) * rarity)

    of_targets = _unit(np.log1p(_counts(np.concatenate(targets))) * rarity)
    return Looked(made_by.what, of_targets, np.asarray((pool != NO_TERM).any(1)), blocks, None)


def _counts(terms: NDArray[np.int32]) -> Floats:
    """How often each place is hit by the terms (b, w) of each row: (b, places)."""
    row, column = np.nonzero(terms != NO_TERM)
    flat = row * _TERM_PLACES + terms[row, column].astype(np.int64) % _TERM_PLACES
    found = np.bincount(flat, minlength=len(terms) * _TERM_PLACES)
    return found.reshape(len(terms), _TERM_PLACES).astype(np.float32)


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)
