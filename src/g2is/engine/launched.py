"""Runs jobs in the processes that a launcher started for the command (`machine/ranks.py`), this one among them.

Each takes the next job when it is done with one. Beside what those processes tell each other anyway there are:

    jobs/N/I    the I-th job of task N, JSON
    taken/N     how many of them were taken
    tokens/N    tokens that the others did
    stored/N/…  which jobs the others stored
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any

from g2is.engine.job import Engine, ShardJob
from g2is.engine.worker import Worker
from g2is.machine.ranks import Team

SHARDS = "shards"  # what `task["do"]` says
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

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            for made in [threads.submit(make_some) for _ in range(_AT_ONCE)]:
                made.result()
        except BaseException:  # a signal, which comes to this thread alone
            failed.set()
            raise


class _TooLateError(Exception):
    """A shard that is not to be stored any more."""


def _taken(others: Team, number: int, num_jobs: int) -> Iterator[ShardJob]:
    """The jobs of a task that this process gets, each when it asks for one."""
    while (i := others.count(f"taken/{number}", 1) - 1) < num_jobs:
        yield ShardJob.from_json(others.store.get(f"jobs/{number}/{i}").decode())
