"""Runs jobs one after the other in this process."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from g2is.engine.job import ShardJob
from g2is.engine.wanted import WantedRows
from g2is.model.batches import Row
from g2is.store.matrix import Shard

Work = Callable[[ShardJob, list[Row]], Shard]  # what makes a shard of a job and its rows' tokens: all the mathematics


@dataclass(frozen=True)
class LocalEngine:
    """Makes the shards of `wanted` by `work`, in the order of the jobs."""

    wanted: WantedRows
    work: Work

    def run(self, jobs: Iterable[ShardJob]) -> Iterator[ShardJob]:
        """As every `Engine`; reads the next shard's tokens and stores the last one while `work` computes one.

        A shard is stored whole before the one after the next begins, so a stop loses at most two. The next of `jobs` is
        asked for before one is computed.
        """
        waiting = iter(jobs)
        with ThreadPoolExecutor(2) as beside:

            def read_next() -> list[tuple[ShardJob, Future[list[Row]]]]:
                return [(job, beside.submit(self.wanted.read, job)) for job in islice(waiting, 1)]

            reading, writing = read_next(), list[tuple[ShardJob, Future[None]]]()
            while reading:
                job, tokens = reading.pop()
                token_rows = tokens.result()
                reading = read_next()
                made = self.work(job, token_rows)
                yield from _stored(writing)
                writing = [(job, beside.submit(self.wanted.table.write, job.number, made))]
            yield from _stored(writing)


def _stored(writing: list[tuple[ShardJob, Future[None]]]) -> Iterator[ShardJob]:
    for job, written in writing:
        written.result()
        yield job
