"""Gradient rows of pool and targets: what is to be made of them, and what the walk starts from, in the files' order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from g2is.config import Config, GammaForm, Storage
from g2is.engine.job import ShardJob
from g2is.engine.local import Work
from g2is.engine.wanted import WantedRows
from g2is.errors import SelectionError
from g2is.examples.dataset import Examples, Joined
from g2is.examples.table import ExampleTable
from g2is.gradients.extract import Extractor
from g2is.gradients.rows import gradient_rows, stored_as
from g2is.model.batches import Row
from g2is.store.manifest import GRADIENTS, Kind, Store, shard_rows_at, shard_rows_of
from g2is.store.matrix import Shard
from g2is.store.row_reader import RowReader
from g2is.store.rows import StoredRows
from g2is.store.stored_as import BITS
from g2is.warmup.train import Checkpoint


@dataclass(frozen=True)
class Gradients:
    """The rows that a walk starts from, in the files' order.

    `pool` (N, C·k) float16: unit rows (over C checkpoints, weighted by sqrt(w_i)) of what is stored, zeros where a row
    is set aside; rows that were excluded are not among them. `targets`, by name (M, C·k): the same as float16 if
    `selection.normalize_targets`, else float32 with their lengths; without the rows that are set aside.
    """

    pool: np.ndarray
    targets: Mapping[str, np.ndarray]
    pool_ids: Sequence[str]
    target_ids_by_name: Mapping[str, Sequence[str]]

    @property
    def target(self) -> np.ndarray:
        """The rows of the one target. Raises SelectionError if there are several."""
        return self.targets[self._only()]

    @property
    def target_ids(self) -> Sequence[str]:
        """The ids of the one target's rows. Raises SelectionError if there are several."""
        return self.target_ids_by_name[self._only()]

    def _only(self) -> str:
        if len(self.targets) > 1:
            raise SelectionError(f"expected one target, found {', '.join(self.targets)}; ask for one by its name")
        return next(iter(self.targets))


def wanted_gradients(
    config: Config, store: Store, examples: Examples, checkpoints: Sequence[Checkpoint]
) -> list[WantedRows]:
    """The gradient rows of all targets and of the pool, in the order in which they are made."""
    digests, names = [of.digest for of in checkpoints], tuple(of.name for of in checkpoints)
    kinds: dict[Kind, tuple[ExampleTable | Joined, tuple[GammaForm, ...]]] = {
        "target": (examples.all_targets, (config.gradients.target_form,)),
        "pool": (examples.pool, config.gradients.forms),
    }
    storage: dict[Kind, Storage] = {"target": "float16", "pool": config.gradients.storage}
    return [
        WantedRows(store.path, GRADIENTS, kind, table, store.table(kind, digests), names, forms, storage[kind])
        for kind, (table, forms) in kinds.items()
    ]


def gradient_work(extractor: Extractor, wanted: WantedRows, add: Callable[[int], None]) -> Work:
    """How the shards of `wanted` are made; `add` is told of tokens done, once for each checkpoint."""
    forms = cast(Sequence[GammaForm], wanted.forms)  # of every job that is let in

    def work(job: ShardJob, token_rows: list[Row]) -> Shard:
        return stored_as(extractor.extract(token_rows, wanted.keys(job), forms, add), wanted.storage)

    return work


def read_gradient_rows(
    config: Config,
    store: Store,
    examples: Examples,
    checkpoints: Sequence[Checkpoint],
) -> tuple[dict[str, StoredRows], RowReader]:
    """The stored rows of the targets, by name, and those of the pool, still to be read.

    Raises StoreError if some are missing, or those of the targets damaged.
    """
    digests = [checkpoint.digest for checkpoint in checkpoints]
    weights = [(checkpoint.name, checkpoint.weight) for checkpoint in checkpoints]
    of_targets, of_pool = store.table("target", digests), store.table("pool", digests)
    return (
        {
            name: gradient_rows(
                of_targets, of_targets.positions_of(table.keys), weights, config.gradients.target_form
            ).read()
            for name, table in examples.targets.items()
        },
        gradient_rows(of_pool, of_pool.positions_of(examples.pool.keys), weights, config.pool_form),
    )


def target_rows(config: Config, of_target: StoredRows) -> np.ndarray:
    """The target rows that core knowledge is made of, each checkpoint's unit rows if they are to be normalised."""
    return of_target.rows[of_target.usable] if config.selection.normalize_targets else of_target.unnormalized()


def bytes_of_rows(config: Config, rows: Mapping[Kind, int], num_pool_rows: int, row_length: int) -> int:
    """What gradient rows take on disk, the pool's in every form; the last shard of each kind is as long as others."""
    asked = shard_rows_at(config.store_folder, config.execution.shard_rows, num_pool_rows)
    bits = {"pool": len(config.gradients.forms) * BITS[config.gradients.storage], "target": BITS["float16"]}
    padded = {kind: -(-num // (size := shard_rows_of(kind, asked))) * size for kind, num in rows.items()}
    return sum(padded[kind] * bits[kind] for kind in rows) * row_length // 8
