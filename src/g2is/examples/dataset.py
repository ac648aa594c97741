"""Pool and targets as tokens: what a selection is made from and for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from g2is.examples.columns import Seen
from g2is.examples.filter import Filtered
from g2is.examples.table import ExampleTable
from g2is.model.batches import Row


class Joined:
    """Several tables of examples as one, their rows one after the other.

    `keys` (N, 16) uint8, `num_tokens` (N,) int32.
    """

    def __init__(self, tables: Sequence[ExampleTable]) -> None:
        self._tables = tables
        self.keys = np.concatenate([table.keys for table in tables])
        self.num_tokens = np.concatenate([table.num_tokens for table in tables])
        self._starts = np.cumsum([0, *(len(table) for table in tables)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def token_rows(self, rows: Sequence[int] | np.ndarray) -> list[Row]:
        """The tokens of `rows`, in the order given. Raises as `ExampleTable.take`."""
        wanted = np.asarray(rows, np.int64)
        taken: dict[int, Row] = {}
        for table, start in zip(self._tables, self._starts[:-1], strict=True):
            ours = np.unique(wanted[(wanted >= start) & (wanted < start + len(table))])
            taken |= zip(ours.tolist(), table.token_rows(ours - start), strict=True)
        return [taken[row] for row in wanted.tolist()]


@dataclass(frozen=True)
class Examples:
    """Pool and targets as tokens; the targets by name, in the order in which they are walked."""

    filtered: Filtered
    targets: Mapping[str, ExampleTable]

    @property
    def pool(self) -> ExampleTable:
        """The pool's rows that were not left out."""
        return self.filtered.pool

    @property
    def seen(self) -> list[Seen]:
        """What was seen of the columns of the pool's files, and of each target's."""
        return [self.filtered.read.seen, *(table.seen for table in self.targets.values())]

    @cached_property
    def all_targets(self) -> Joined:
        """The rows of all targets."""
        return Joined(list(self.targets.values()))

    def bad_rows(self) -> Iterator[dict[str, Any]]:
        """The rows of all files that could not be used."""
        for table in (self.filtered.read, *self.targets.values()):
            yield from table.bad_rows()
