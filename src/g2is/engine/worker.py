"""What makes shards in a process of its own, whoever started that: one of this machine's, or a cluster's."""

from collections.abc import Callable
from typing import Protocol

from g2is.engine.job import ShardJob

Notice = Callable[[str], None]


class Worker(Protocol):
    """Makes one shard after the other."""

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        """Read the tokens of `job`, compute its shard and store it; nothing where its marker is there already.

        `add` is told of tokens done, all of them in the end. Returns when the shard is stored whole. Raises what
        computing or storing it raises; then nothing of it counts.
        """


# Called once in a process, with who is told what the user should know. It can be pickled: a functools.partial of a
# module's function with plain values. Raises a G2isError where no worker can be made.
Open = Callable[[Notice], Worker]
