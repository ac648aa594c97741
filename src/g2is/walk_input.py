"""What the walk starts from: the rows of pool and targets, out of the store, in the files' order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from g2is.config import Config
from g2is.errors import SelectionError
from g2is.examples.table import ExampleTable
from g2is.gradients.rows import read_rows
from g2is.model.batches import Row
from g2is.screen import Screened
from g2is.store.manifest import Store
from g2is.store.rows import StoredRows
from g2is.warmup.train import Checkpoint


class Joined:
    """Several tables of examples as one, their rows one after the other.

    `keys` (N, 16) uint8, `num_tokens` (N,) int32.
    """

    def __init__(self, tables: Sequence[ExampleTable]) -> None:
        self._tables = tables
        self.keys = np.concatenate([table.keys for table in tables])
        self.num_tokens = np.concatenate([table.num_tokens for table in tables])
        self._starts = np.cumsum([0, *(len(table) for table in tables)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def token_rows(self, rows: Sequence[int] | np.ndarray) -> list[Row]:
        """The tokens of `rows`, in the order given. Raises as `ExampleTable.take`."""
        wanted = np.asarray(rows, np.int64)
        taken: dict[int, Row] = {}
        for table, start in zip(self._tables, self._starts[:-1], strict=True):
            ours = np.unique(wanted[(wanted >= start) & (wanted < start + len(table))])
            taken |= zip(ours.tolist(), table.token_rows(ours - start), strict=True)
        return [taken[row] for row in wanted.tolist()]


@dataclass(frozen=True)
class Examples:
    """Pool and targets as tokens; the targets by name, in the order in which they are walked."""

    screened: Screened
    targets: Mapping[str, ExampleTable]

    @property
    def pool(self) -> ExampleTable:
        """The pool's rows that were not left out."""
        return self.screened.pool

    @cached_property
    def all_targets(self) -> Joined:
        """The rows of all targets."""
        return Joined(list(self.targets.values()))

    def bad_rows(self) -> Iterator[dict[str, Any]]:
        """The rows of all files that could not be used."""
        for table in (self.screened.read, *self.targets.values()):
            yield from table.bad_rows()


@dataclass(frozen=True)
class Gradients:
    """The rows that a walk starts from, in the files' order.

    `pool` (N, C·k) float16: unit rows (over C checkpoints, weighted by sqrt(w_i)), zeros where a row is set aside; rows
    that were excluded are not among them. `targets`, by name (M, C·k): the same as float16 if
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


def overlap(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which of `keys` (N, 16) uint8 are among `others` (M, 16) uint8, (N,) bool."""
    heads, other_heads = (np.ascontiguousarray(rows).view(np.uint64)[:, 0] for rows in (keys, others))
    known = {key.tobytes() for key in others}
    found = np.isin(heads, other_heads)
    for row in np.flatnonzero(found):
        found[row] = keys[row].tobytes() in known
    return found


def read_gradient_rows(
    config: Config,
    store: Store,
    examples: Examples,
    checkpoints: Sequence[Checkpoint],
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[dict[str, StoredRows], StoredRows]:
    """The stored rows of the targets, by name, and of the pool.

    `progress` is told of pool rows read, once for each checkpoint. Raises StoreError if some are missing or damaged.
    """
    digests = [checkpoint.digest for checkpoint in checkpoints]
    weights = [(checkpoint.name, checkpoint.weight) for checkpoint in checkpoints]
    of_targets, of_pool = store.table("target", digests), store.table("pool", digests)
    return (
        {
            name: read_rows(of_targets, of_targets.positions_of(table.keys), weights, config.gradients.target_form)
            for name, table in examples.targets.items()
        },
        read_rows(of_pool, of_pool.positions_of(examples.pool.keys), weights, config.pool_form, progress),
    )


def target_rows(config: Config, of_target: StoredRows) -> np.ndarray:
    """The target rows that core knowledge is made of, each checkpoint's unit rows if they are to be normalised."""
    return of_target.rows[of_target.usable] if config.selection.normalize_targets else of_target.unnormalized()
