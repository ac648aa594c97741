"""Unit rows out of a store: all of them or some, held in memory or looked at shard by shard and let go."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from g2is.store.arrays import by_shard, open_array
from g2is.store.matrix import RowTable
from g2is.store.rows import StoredRows, has_direction, reasons, room_for_rows

_Told = Callable[[int], None]


@dataclass(frozen=True)
class RowReader:
    """The rows of a `table` at `positions` (N,), none of which is read yet.

    A row is the concatenation of its `parts`: under each name, which the arrays' names begin with, a unit row, times
    the root of the part's weight. `what` names such a row in reasons.
    """

    table: RowTable
    positions: np.ndarray
    parts: Sequence[tuple[str, float]] = (("", 1.0),)
    what: str = "gradient"

    def __len__(self) -> int:
        return len(self.positions)

    @cached_property
    def norm(self) -> np.ndarray:
        """(N, C) float32, the norms of the vectors, one column a part. Raises StoreError naming a damaged shard."""
        return np.stack([self.table.read(f"{name}norm", self.positions) for name, _ in self.parts], 1)

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) bool, rows with a direction in every part."""
        return np.asarray(has_direction(self.norm).all(1))

    def reasons(self) -> dict[int, str]:
        """Row -> why it is set aside."""
        return reasons(self.norm, self.what)

    def read(self, places: np.ndarray | None = None, progress: _Told = lambda _: None) -> StoredRows:
        """All rows, or those at `places` (n,) ascending alone, whose norms are read with all others'.

        `progress` is told of rows read, once for each part. Raises StoreError naming a damaged shard, OSError where
        there is room for the rows neither in memory nor on the disk.
        """
        num_rows = len(self) if places is None else len(places)
        rows = room_for_rows((num_rows, len(self.parts) * self._width), self.table.path)
        for at, block in self.blocks(places, progress):
            rows[at] = block
        return StoredRows(rows, self.norm, self.what, places)

    def blocks(
        self, places: np.ndarray | None = None, progress: _Told = lambda _: None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same shard by shard: where the rows of a shard stand in what is asked for, (b,), and the rows (b, C·k).

        A row without a direction in one part is zeros: it is not half a row in the others.
        """
        positions, usable = (
            (self.positions, self.usable) if places is None else (self.positions[places], self.usable[places])
        )
        arrays = [open_array(self.table.path / f"{name}rows") for name, _ in self.parts]
        width = self._width
        for shard, at, inside in by_shard(positions, self.table.shard_rows):
            block = np.empty((len(at), len(self.parts) * width), np.float16)
            for i, ((name, weight), array) in enumerate(zip(self.parts, arrays, strict=True)):
                part = block[:, i * width : (i + 1) * width]
                part[:] = self.table.chunk(f"{name}rows", shard, array)[inside]
                if weight != 1:
                    part *= np.float16(weight**0.5)
                progress(len(at))
            block[~usable[at]] = 0
            yield at, block

    @property
    def _width(self) -> int:
        return self.table.width(f"{self.parts[0][0]}rows")
