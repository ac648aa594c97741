"""The rows of one kind that a command wants in a table of the store, and the jobs of making those that it lacks.

A process that only works on jobs prepares as the one that plans does, up to its own `WantedRows`: what a job says by
name and number is there at hand, or the job is refused.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from g2is.engine.job import Engine, ShardJob
from g2is.errors import StoreError
from g2is.model.batches import Row
from g2is.store.elsewhere import name_of
from g2is.store.files import remove
from g2is.store.manifest import Kind
from g2is.store.matrix import RowTable
from g2is.store.plan import PlannedShard, missing_rows, planned_shards
from g2is.store.stored_as import Storage


class TokenRows(Protocol):
    """A table of examples as tokens: `keys` (N, 16) uint8 of content, `num_tokens` (N,) int32."""

    keys: np.ndarray
    num_tokens: np.ndarray

    def token_rows(self, rows: np.ndarray, /) -> list[Row]:
        """The tokens of the examples at `rows` (n,) int64, in that order."""


@dataclass(frozen=True)
class WantedRows:
    """All rows of `examples`, in the table `table` of a representation's rows of one kind in the store at `store`.

    Gradients are taken under `checkpoints` as the Γ `forms`; other representations have neither.
    Whoever makes the rows makes them in the form `storage`.
    """

    store: Path
    representation: str
    kind: Kind
    examples: TokenRows
    table: RowTable
    checkpoints: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    storage: Storage = "float16"

    def plan(self, notice: Callable[[str], None]) -> list[PlannedShard]:
        """Sweep what a crash left, and write down which missing rows make which shards: these, by number.

        The caller holds the store's lock, and nobody writes. `notice` is told of a damaged plan.
        """
        self.table.sweep()
        return self.table.plan(self.examples.keys, notice)

    def planned(self, notice: Callable[[str], None]) -> list[PlannedShard] | None:
        """The missing rows' shards, by number, as another process has planned them; None if its plan lacks any.

        Nothing is written, and others may make shards meanwhile. `notice` as of `plan`.
        """
        keys = self.examples.keys
        missing = missing_rows(keys, self.table.positions())
        return planned_shards(keys, missing, self.table.unfinished(notice))

    def num_tokens(self, planned: Iterable[PlannedShard]) -> int:
        """The tokens of all rows of the `planned` shards."""
        return sum(int(self.examples.num_tokens[shard.rows].sum()) for shard in planned)

    def make(self, planned: Sequence[PlannedShard], engine: Engine[ShardJob]) -> None:
        """Have `engine` make all shards of the plan, which then has served."""
        left = {shard.number for shard in planned}
        for job in engine.run(map(self.job, planned)):
            left.remove(job.number)
        assert not left, f"the engine left out shards {sorted(left)}"
        for leftover in self.table.path.rglob("*.partial"):  # of processes that died while they wrote
            remove(leftover)
        self.table.end_plan()

    def make_part(self, planned: Sequence[PlannedShard], engine: Engine[ShardJob]) -> int:
        """Have `engine` make these shards of a plan that others work on, too; returns how many of them it made.

        Those that another process has stored meanwhile are passed over. The plan stays, for who has the store alone.
        """
        left = (self.job(shard) for shard in planned if not self.table.marker_place(shard.number).exists())
        return sum(1 for _ in engine.run(left))

    def job(self, shard: PlannedShard) -> ShardJob:
        """The work that a planned shard is."""
        return ShardJob(**self._table, number=shard.number, rows=tuple(shard.rows.tolist()))

    def keys(self, job: ShardJob) -> np.ndarray:
        """The content keys of a job's rows, (R, 16) uint8."""
        return self.examples.keys[list(job.rows)]

    def read(self, job: ShardJob) -> list[Row]:
        """The tokens of a job's rows. Raises StoreError if it is not a job of these rows, or not of the plan."""
        found, expected = {name: getattr(job, name) for name in self._table}, self._table
        differing = [
            f"{name} {expected[name]}, found {found[name]}" for name in expected if found[name] != expected[name]
        ]
        if max(job.rows) >= (num_rows := len(self.examples.keys)):
            differing.append(f"rows below {num_rows}, found {max(job.rows)}")
        if differing:
            raise StoreError(
                f"shard {job.number}: expected a job of {'; '.join(differing)}. Start all processes of a command with"
                " the same settings and files"
            )
        self.table.check_planned(job.number, self.keys(job))
        return self.examples.token_rows(np.array(job.rows))

    @property
    def _table(self) -> dict[str, Any]:
        """What all of the table's jobs say alike."""
        return {
            "store": name_of(self.store),
            "representation": self.representation,
            "kind": self.kind,
            "fingerprint": self.table.fingerprint,
            "checkpoints": self.checkpoints,
            "forms": self.forms,
        }
