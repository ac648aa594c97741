"""What does jobs in a process of its own, whoever started that: one of this machine's, or a cluster's."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from g2is.engine.job import Job

Notice = Callable[[str], None]
_Takes = TypeVar("_Takes", bound=Job, contravariant=True)


class Worker(Protocol[_Takes]):
    """Does one job after the other: makes a shard, or tunes and tests."""

    def make(self, job: _Takes, add: Callable[[int], None]) -> None:
        """Compute and store what `job` says; nothing where it is stored already.

        `add` is told of tokens done, all of them in the end, and of 0 before rows are stored: it may raise. Returns
        when it is stored whole. Raises what computing or storing it raises; then nothing of it counts.
        """


# Called once in a process, with who is told what the user should know. It can be pickled: a functools.partial of a
# module's function with plain values. Raises a G2isError where no worker can be made.
Open = Callable[[Notice], Worker[Any]]
