"""A worker that computes nothing, and the job of two rows that it is given."""

from collections.abc import Callable

from g2is.engine.job import ShardJob
from g2is.engine.worker import Notice

JOB = ShardJob("store", "gradients", "pool", "f1", (), (), 3, (0, 1))


class Counting:
    """A worker that is done at once, and says so."""

    def __init__(self, notice: Notice) -> None:
        notice("begun")

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        for _ in job.rows:
            add(5)
