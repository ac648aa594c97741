"""Unit rows out of a store: all of them or some, held in memory or looked at shard by shard and let go."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import zarr

from g2is.store.arrays import open_array
from g2is.store.matrix import RowTable
from g2is.store.rows import StoredRows, has_direction, reasons, room_for_rows
from g2is.store.stored_as import DTYPES, decoded, num_coordinates

_Told = Callable[[int], None]


@dataclass(frozen=True)
class RowReader:
    """The rows of a `table` at `positions` (N,), none of which is read yet; they may lie in any form (`stored_as.py`).

    A row is the concatenation of its `parts`: under each name, which the arrays' names begin with, a unit row, times
    the root of the part's weight. `what` names such a row in reasons. `made_into` has, for each part, what makes other
    unit rows (b, k) float16 of the stored ones (b, …), which are read in place of these.
    """

    table: RowTable
    positions: np.ndarray
    parts: Sequence[tuple[str, float]] = (("", 1.0),)
    what: str = "gradient"
    made_into: Sequence[Callable[[np.ndarray], np.ndarray]] = ()

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
        rows = room_for_rows((num_rows, self._width), self.table.path, self._dtype)
        for at, block in self.blocks(places, progress):
            rows[at] = block
        return StoredRows(rows, self.norm, self.what, places)

    def blocks(
        self, places: np.ndarray | None = None, progress: _Told = lambda _: None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same shard by shard: where the rows of a shard stand in what is asked for, (b,), and the rows (b, …).

        They are in the form in which they are stored; of several parts, or made into others, in float16. A row without
        a direction in one part is zeros: it is not half a row in the others.
        """
        positions, usable = (
            (self.positions, self.usable) if places is None else (self.positions[places], self.usable[places])
        )
        names = [f"{name}rows" for name, _ in self.parts]
        for shard, at, inside in self.table.by_shard(positions, dict(zip(names, self._arrays, strict=True))):
            parts = []
            for number, ((name, weight), array) in enumerate(zip(self.parts, self._arrays, strict=True)):
                part = self.table.chunk(f"{name}rows", shard, array)[inside]
                if self.made_into:
                    part = self.made_into[number](part)
                elif len(self.parts) > 1:
                    part = decoded(part)
                parts.append(part if weight == 1 else part * np.float16(weight**0.5))
                progress(len(at))
            block = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
            block[~usable[at]] = 0
            yield at, block

    @cached_property
    def _arrays(self) -> list[zarr.Array]:
        return [open_array(self.table.path / f"{name}rows") for name, _ in self.parts]

    @property
    def num_coordinates(self) -> int:
        """How many coordinates a row has, over all parts."""
        width = self.table.width(f"{self.parts[0][0]}rows")
        return len(self.parts) * num_coordinates(np.dtype(self._arrays[0].dtype), width)

    @property
    def _are_as_stored(self) -> bool:
        return len(self.parts) == 1 and not self.made_into

    @property
    def _dtype(self) -> np.dtype:
        stored: np.dtype = np.dtype(self._arrays[0].dtype)
        return stored if self._are_as_stored else DTYPES["float16"]

    @property
    def _width(self) -> int:
        """How many numbers a row is read as."""
        return self.table.width(f"{self.parts[0][0]}rows") if self._are_as_stored else self.num_coordinates
