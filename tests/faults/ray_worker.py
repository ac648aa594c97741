"""A worker that makes files in place of rows, slowly, and keeps a log of what it makes: which is what tests look at."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from g2is.engine.job import ShardJob
from g2is.engine.ray import connected, open_actors
from g2is.engine.worker import Notice
from g2is.errors import InputError
from g2is.store.lock import locked

BAD, DEADLY = 3, 5  # shards: one that always fails, one that ends whoever makes it


@dataclass(frozen=True)
class FileWorker:
    """Makes the file of a shard, one token for each of its rows."""

    store: Path
    seconds: float
    bad: bool

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        """As every `Worker`."""
        place = self.store / f"{job.number}.made"
        if not place.exists():
            with (self.store / "log").open("a") as log:
                log.write(f"{job.number} {os.getpid()} {os.getppid()}\n")
            for _ in job.rows:
                time.sleep(self.seconds / len(job.rows))
                add(1)
            if self.bad and job.number == BAD:
                raise InputError("row 6 is bad")
            if self.bad and job.number == DEADLY:
                os._exit(7)
            partial_place = place.with_suffix(".partial")
            partial_place.write_text(job.to_json())
            partial_place.replace(place)
        else:
            add(len(job.rows))


def open_files(store: Path, seconds: float, bad: bool, notice: Notice) -> FileWorker:
    """Opens one; it has something to say."""
    notice("files are made")
    return FileWorker(store, seconds, bad)


def jobs(store: Path, num_shards: int) -> list[ShardJob]:
    """Shards of two rows."""
    return [
        ShardJob(str(store), "files", "pool", "f1", (), (), number, (2 * number, 2 * number + 1))
        for number in range(num_shards)
    ]


def make_files(
    address: str, store: Path, num_shards: int, num_workers: int, seconds: float, bad: bool, notice: Notice
) -> Iterable[int]:
    """Hold the store and have its shards made on a cluster; gives the tokens that were told of."""
    with locked(store, "store"), connected(address) as ray:
        opens = partial(open_files, store, seconds, bad)
        told: list[int] = []
        with open_actors(ray, opens, store, num_workers, {"CPU": 1.0}, notice) as actors:
            for _ in actors.run(jobs(store, num_shards), told.append):
                pass
    return told
