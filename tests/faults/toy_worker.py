"""A worker that makes shards of numbers in no time, and fails as it is told to: processes of it start in a second."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from g2is.engine.job import ShardJob
from g2is.engine.worker import Notice
from g2is.errors import ModelError, StoreError
from g2is.store.matrix import RowTable, Shard

SHARD_ROWS, NUM_SHARDS = 4, 12
KEYS = np.random.default_rng(0).integers(0, 256, (SHARD_ROWS * NUM_SHARDS - 1, 16), np.uint8)
ALWAYS = 99


def table_in(store: Path) -> RowTable:
    return RowTable(store / "toy/pool", "f", SHARD_ROWS)


def jobs_of(table: RowTable, store: Path) -> list[ShardJob]:
    """Plan all shards that are missing."""
    planned = table.plan(KEYS, print)
    return [
        ShardJob(str(store), "toy", "pool", "f", (), (), shard.number, tuple(shard.rows.tolist())) for shard in planned
    ]


def tokens_of(job: ShardJob) -> int:
    return 10 * len(job.rows)


def shard_of(job: ShardJob) -> Shard:
    keys = KEYS[list(job.rows)]
    return Shard(keys, {"rows": keys.astype(np.float32) / 7})


@dataclass(frozen=True)
class Failing:
    """How making a shard, or opening where there is no shard (None), fails: the first `times` times."""

    how: str  # kill, error, bug, store
    times: int = ALWAYS


Plan = Mapping[int | None, Failing]


def open_toy(store: Path, plan: Plan, seconds: float, notice: Notice) -> "ToyWorker":
    """A worker whose every shard takes `seconds`; its process is listed in the folder `store`-tries."""
    worker = ToyWorker(store, plan, seconds)
    worker.fail_if_told(None)
    notice("every worker says this")
    return worker


class ToyWorker:
    def __init__(self, store: Path, plan: Plan, seconds: float) -> None:
        self._store, self._plan, self._seconds = store, plan, seconds
        self._table = table_in(store)

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        if self._table.marker_place(job.number).exists():
            add(tokens_of(job))
            return
        for part in range(10):
            time.sleep(self._seconds / 10)
            add(tokens_of(job) // 10)
            if part == 5:
                self.fail_if_told(job.number)
        self._table.write(job.number, shard_of(job))

    def fail_if_told(self, number: int | None) -> None:
        folder = self._store.with_name(f"{self._store.name}-tries")
        tries = 1
        while True:
            try:
                os.close(os.open(folder / f"{number}-{tries}-{os.getpid()}", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                tries += 1
        tries = len(list(folder.glob(f"{number}-*")))
        if number not in self._plan or tries > self._plan[number].times:
            return
        match self._plan[number].how:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "error":
                raise ModelError(f"expected better of {number}")
            case "store":
                raise StoreError("expected room")
            case _:
                raise ZeroDivisionError(f"of {number}")
