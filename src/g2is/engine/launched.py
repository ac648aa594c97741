"""Runs jobs in the processes that a launcher started for the command (`machine/ranks.py`), this one among them.

Each takes the next job when it is done with one. Beside what those processes tell each other anyway there are:

    jobs/N/I    the I-th job of task N, JSON
    taken/N     how many of them were taken
    tokens/N    tokens that the others did
    stored/N/…  which jobs the others stored
    writes/R    "yes" while process R makes shards
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from time import monotonic, sleep
from typing import Any

from g2is.engine.job import Engine, ShardJob
from g2is.engine.worker import Worker
from g2is.machine.ranks import SECONDS_BETWEEN_SIGNS, Team

SHARDS = "shards"  # what `task["do"]` says
_SECONDS_TO_STOP, _SECONDS_BETWEEN_LOOKS = 20.0, 0.1  # the first: less than torchrun gives a command to end
_AT_ONCE = 2  # shards of a process: one is read or written while another one is computed


@dataclass(frozen=True)
class LaunchedEngine:
    """Makes shards by `here` in process 0, and in the `others` as `opening` says a worker is opened there.

    `add` is told of tokens that the others did, `here` tells of its own.
    """

    others: Team
    here: Engine[ShardJob]
    opening: dict[str, Any]
    add: Callable[[int], None]

    def run(self, jobs: Iterable[ShardJob]) -> Iterator[ShardJob]:
        """As every `Engine`. Raises what another process gave up for, WorkerError if one is gone."""
        all_jobs = list(jobs)
        number = self.others.next_number
        for i, job in enumerate(all_jobs):
            self.others.store.set(f"jobs/{number}/{i}", job.to_json())
        self.others.hand_out({"do": SHARDS, "num_jobs": len(all_jobs), **self.opening})
        left, num_heard, num_tokens = {job.number: job for job in all_jobs}, 0, 0

        def hear() -> list[ShardJob]:
            nonlocal num_heard, num_tokens
            told = self.others.posted(f"stored/{number}", num_heard)
            tokens = self.others.count(f"tokens/{number}", 0)
            self.add(tokens - num_tokens)
            num_heard, num_tokens = num_heard + len(told), tokens
            return [left.pop(int(shard)) for shard in told]

        for job in self.here.run(_taken(self.others, number, len(all_jobs))):
            yield left.pop(job.number)
            self.others.check()
            yield from hear()
        while left:
            self.others.pause()
            yield from hear()


def make_beside(others: Team, number: int, task: dict[str, Any], worker: Worker[ShardJob]) -> None:
    """Make shards of the jobs of task `number` by `worker`, in another process than 0, until none is left.

    Nor any more once process 0 is at its end, or this one was told to stop: nobody may hold the store then. Raises
    what making or storing one raises.
    """
    failed = Event()

    def told(num_tokens: int) -> None:
        if failed.is_set() or others.is_over:
            raise _TooLateError
        others.count(f"tokens/{number}", num_tokens)

    def make_some() -> None:
        try:
            for job in _taken(others, number, task["num_jobs"]):
                if failed.is_set() or others.is_over:
                    return
                worker.make(job, told)
                others.post(f"stored/{number}", str(job.number))
        except _TooLateError:
            return
        except BaseException:
            failed.set()
            raise

    with _writing(others), ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            for made in [threads.submit(make_some) for _ in range(_AT_ONCE)]:
                made.result()
        except BaseException:  # a signal, which comes to this thread alone
            failed.set()
            raise


@contextmanager
def _writing(others: Team) -> Iterator[None]:
    """Within this another process than 0 says that it makes shards."""
    place = f"writes/{others.place.rank}"
    others.store.set(place, "yes")
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the connection is gone
            others.store.set(place, "no")


def stop_others(others: Team) -> None:
    """Have the other processes store nothing more, by process 0 while it holds the store, and wait until it is so.

    They stop after a batch, or a write that is under way. One that gives no signs of life any more is not waited for.
    """
    begin = monotonic()
    with suppress(RuntimeError):  # the connection is gone, and with it the others
        others.store.set("end", "")
        signs = {rank: others.count(f"alive/{rank}", 0) for rank in others.others}
        while (waited := monotonic() - begin) < _SECONDS_TO_STOP:
            at_work = [rank for rank in signs if _writes(others, rank)]
            if waited > 2 * SECONDS_BETWEEN_SIGNS:
                at_work = [rank for rank in at_work if others.count(f"alive/{rank}", 0) > signs[rank]]
            if not at_work:
                return
            sleep(_SECONDS_BETWEEN_LOOKS)


def _writes(others: Team, rank: int) -> bool:
    place = f"writes/{rank}"
    return bool(others.store.check([place]) and others.store.get(place) == b"yes")


class _TooLateError(Exception):
    """A shard that is not to be stored any more."""


def _taken(others: Team, number: int, num_jobs: int) -> Iterator[ShardJob]:
    """The jobs of a task that this process gets, each when it asks for one."""
    while (i := others.count(f"taken/{number}", 1) - 1) < num_jobs:
        yield ShardJob.from_json(others.store.get(f"jobs/{number}/{i}").decode())
