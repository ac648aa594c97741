"""One of several parts of a plan, for commands that a batch scheduler starts and that know nothing of each other."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from g2is.errors import ConfigError


class Numbered(Protocol):
    """What has a number in a plan: a shard."""

    @property
    def number(self) -> int:
        """From 0."""


Shards = TypeVar("Shards", bound=Numbered)


@dataclass(frozen=True)
class Part:
    """The `number`-th of `count` parts, counted from 1. `place` is this process's among those of its machine, from 0.

    >>> str(Part(3, 8))
    '3/8'
    """

    number: int
    count: int
    place: int | None = None

    @staticmethod
    def from_text(text: str) -> "Part":
        """Read what `str` gives. Raises ConfigError if it is not that."""
        found = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise ConfigError(
                f"--worker: expected I/N, the I-th of N workers counted from 1, such as 3/8, found {text!r}. A task"
                " array counts from 1 where it is asked to (sbatch --array=1-8)"
            )
        return Part(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, planned: Iterable[Shards]) -> list[Shards]:
        """Those of the shards of a plan that are this part's: by number, so that a stop and other parts change none."""
        return [shard for shard in planned if shard.number % self.count == self.number - 1]
