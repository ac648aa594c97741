"""Keyed rows in Zarr v3: append-only shards, each whole or absent.

A `RowTable` holds the rows of one kind (`pool` or `target`) of one representation, as arrays by name:

    key        (S·shard_rows, 16) uint8    content key (`examples/keys.py`)
    NAME       (S·shard_rows, …)           whatever the representation stores; NAME may have / in it

Unit rows (`store/rows.py`) are `rows` (S·shard_rows, k) float16 with `norm` (S·shard_rows,) float32: hidden states and
embeddings store these two, lexical terms `terms` (S·shard_rows, w) int32, losses `losses` (S·shard_rows, 1 + T)
float32. Gradients have for every checkpoint c and Γ
form f `c/f/rows` and `c/f/norm`, for every checkpoint `c/loss` float32, nats a learned token, and `num_answer_tokens`
int32.

One chunk is one shard, with crc32c and no compression: gradients do not compress. A shard with fewer rows than
`shard_rows` is padded with zeros and its marker says how many count. Markers (`markers/000007.json`) are written last,
after an fsync of the shard's chunks; chunks without a marker are a crash's leftovers and are swept before new ones.

Which rows make which shard is planned before any is computed (`store/plan.py`), and an array is as long as the plan
says from its first shard on. So processes may write different shards of one plan at a time: nothing is theirs in common
but what each would write the same.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import zarr

from g2is.errors import StoreError
from g2is.store.arrays import (
    by_shard,
    check_fits,
    chunks_of,
    chunks_without,
    fit_arrays,
    open_array,
    open_or_make_array,
    read_chunk,
    write_chunk,
)
from g2is.store.elsewhere import bring, look, read_whole
from g2is.store.files import remove
from g2is.store.markers import (
    Marker,
    StoredArray,
    checksum_of_all,
    chunk_checksum,
    marker_place,
    markers_in,
    read_marker,
    write_marker,
)
from g2is.store.plan import PLAN, PlannedShard, ShardPlan, cut_shards, missing_rows, read_plan, write_plan

_FETCHED = 64  # chunks of a store elsewhere that are brought before they are read
TO_WRITE = "Make the store one that can be written to, or copy it (cp -r) and name the copy as --store"


@dataclass(frozen=True)
class Shard:
    """What computing one shard gives: `key` (R, 16) uint8, and arrays (R, …) by name."""

    key: np.ndarray
    arrays: Mapping[str, np.ndarray]


class RowTable:
    """The rows of one kind in a store.

    One process sweeps and plans at a time (the store's lock sees to it), while none writes; each planned shard is
    written by one process; many may read.
    """

    def __init__(
        self, path: Path, fingerprint: str, shard_rows: int, writable: bool = True, without: Collection[int] = ()
    ) -> None:
        """Open or start the table at `path`, whose shards were made under the fingerprint digest `fingerprint`.

        One that is not `writable` is read alone. The shards `without` are passed over, whatever their markers say.
        """
        self.path = path
        self._writable = writable
        self.shard_rows = shard_rows
        self.fingerprint = fingerprint
        self._markers: dict[int, Marker] = {}
        self._checked: set[int] = set()  # shards with one checksum of all arrays, once that is found right
        self._planned: Mapping[int, np.ndarray] | None = None  # keys by number, once the plan is read or made
        look(path)
        for marker in markers_in(path):
            if int(marker.stem) not in without:
                self._markers[int(marker.stem)] = read_marker(marker, fingerprint, shard_rows)

    def sweep(self) -> int:
        """Remove what a crash left: chunks without a marker and partial files. Returns how many were removed.

        Where no shard is stored, all goes: the next may be made under other settings, with rows of another shape. The
        plan stays: whoever plans next sees whether it still holds.
        """
        if not self._writable:
            return 0
        if not self._markers and self.path.is_dir():
            leftovers = [entry for entry in self.path.iterdir() if entry.name != PLAN]
        else:
            leftovers = [*self.path.rglob("*.partial"), *chunks_without(self.path, set(self._markers))]
        for leftover in leftovers:
            remove(leftover)
        return len(leftovers)

    def positions(self) -> dict[bytes, int]:
        """Where each stored key's row stands in the arrays."""
        if not self._markers:
            return {}
        array = open_array(self.path / "key")
        bring(self.chunk_place("key", shard, array.ndim) for shard in self._markers)
        found: dict[bytes, int] = {}
        for shard, marker in sorted(self._markers.items()):
            for offset, key in enumerate(self.chunk("key", shard, array)[: marker.num_rows]):
                found[key.tobytes()] = shard * self.shard_rows + offset
        return found

    def positions_of(self, keys: np.ndarray) -> np.ndarray:
        """Where the rows of `keys` (N, 16) uint8 stand, (N,) int64. Raises StoreError if some are not stored."""
        positions = self.positions()
        found = [positions.get(key.tobytes(), -1) for key in keys]
        if -1 in found:
            raise StoreError(
                f"{self.path}: expected to hold all {len(keys)} rows, found {found.count(-1)} missing; run the"
                " stage that stores them first (`g2is select` runs all)"
            )
        return np.array(found, np.int64)

    def plan(self, keys: np.ndarray, notice: Callable[[str], None]) -> list[PlannedShard]:
        """Decide which shards the rows of `keys` (N, 16) uint8 that are not stored make, and write it down.

        Shards that were planned before, are not stored and have only rows that are missing still keep number and rows;
        the rest is cut in order and numbered from the lowest free number. So going on after a stop makes the very
        shards that an undisturbed run would have. A plan for other settings or another shard length does not hold;
        `notice` is told of one that is damaged. Raises StoreError if rows are missing in a table that is read alone.
        """
        missing = missing_rows(keys, self.positions())
        if not self._writable:
            if len(missing):
                raise StoreError(
                    f"{self.path}: expected all {len(keys)} rows in a store that is read-only, found {len(missing)}"
                    f" missing. {TO_WRITE}"
                )
            return []
        unfinished = self.unfinished(notice)
        shards = cut_shards(keys, missing, unfinished, self.shard_rows, self.next_shards)
        if not shards:
            if (self.path / PLAN).exists():  # which may have made more room
                fit_arrays(self.path, (1 + max(self._markers, default=-1)) * self.shard_rows)
            self.end_plan()
            return []
        self._planned = {shard.number: keys[shard.rows] for shard in shards}
        if self._planned.keys() != unfinished.keys() or not all(
            np.array_equal(self._planned[number], unfinished[number]) for number in unfinished
        ):
            write_plan(self.path / PLAN, ShardPlan(self.fingerprint, self.shard_rows, self._planned))
        fit_arrays(self.path, self._num_shards() * self.shard_rows)
        return shards

    def check_planned(self, number: int, keys: np.ndarray) -> None:
        """Raise StoreError if the plan does not give the rows of `keys` (R, 16) uint8 to shard `number`."""
        planned = self._keys_by_number() or {}
        if number not in planned or not np.array_equal(planned[number], keys):
            raise StoreError(
                f"{self.path / PLAN}: expected shard {number} to be of the {len(keys)} rows given, found"
                f" {'other rows' if number in planned else 'no such shard'} in the plan: it has changed since the work"
                " was handed out. Run the same command again"
            )

    def end_plan(self) -> None:
        """Remove the plan: all of its shards are stored."""
        remove(self.path / PLAN)
        self._planned = None

    def next_shards(self, num_shards: int, kept: Collection[int] = ()) -> list[int]:
        """The lowest `num_shards` shard numbers neither stored nor among `kept`."""
        free = (number for number in count() if number not in self._markers and number not in kept)
        return list(islice(free, num_shards))

    def width(self, name: str) -> int:
        """How many numbers a row of the two-dimensional array `name` has. Raises StoreError if there is none."""
        of_shards = [marker.arrays[name].row_shape for marker in self._markers.values() if name in marker.arrays]
        return int(of_shards[0][0] if of_shards else open_array(self.path / name).shape[1])

    def write(self, number: int, shard: Shard) -> None:
        """Store a shard: its chunks, an fsync, then its marker; nothing where another process has stored it meanwhile.

        Raises StoreError, with nothing written, if there is a plan that does not give these rows to this number, or if
        the arrays are not of the shape and dtype of those stored before.
        """
        num_rows = len(shard.key)
        assert number not in self._markers, f"shard {number} is already stored"
        assert 0 < num_rows <= self.shard_rows, f"{num_rows} rows in a shard of {self.shard_rows}"
        if self._keys_by_number() is not None:
            self.check_planned(number, shard.key)
        if (place := self.marker_place(number)).exists():  # another process that was given this shard, too, was faster
            self._markers[number] = read_marker(place, self.fingerprint, self.shard_rows)
            return
        arrays = {**shard.arrays, "key": shard.key}
        for name, values in arrays.items():
            assert len(values) == num_rows, f"{name}: {len(values)} rows in a shard of {num_rows}"
            check_fits(self.path / name, values)
        stored: dict[str, StoredArray] = {}
        for name, values in sorted(arrays.items()):
            array = open_or_make_array(self.path / name, values, self._num_shards(number), self.shard_rows)
            padded = np.zeros((self.shard_rows, *values.shape[1:]), values.dtype)
            padded[:num_rows] = values
            write_chunk(array, self.path / name, number, padded)
            checksum = chunk_checksum(self.fingerprint, number, name, padded)
            stored[name] = StoredArray(values.dtype.name, values.shape[1:], checksum)
        write_marker(place, self.fingerprint, marker := Marker(num_rows, stored))
        self._markers[number] = marker

    def read(
        self,
        name: str,
        positions: np.ndarray,
        out: np.ndarray | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> np.ndarray:
        """The rows of array `name` at `positions` (n,), in that order, reading each shard once; into `out` if given.

        `progress` is told of rows read. Raises StoreError naming a damaged shard.
        """
        array = open_array(self.path / name)
        if out is None:
            out = np.empty((len(positions), *array.shape[1:]), array.dtype)
        for shard, wanted, inside in self.by_shard(positions, {name: array}):
            out[wanted] = self.chunk(name, shard, array)[inside]
            progress(len(wanted))
        return out

    def by_shard(
        self, positions: np.ndarray, arrays: Mapping[str, zarr.Array]
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """As `by_shard` of `arrays.py`; chunks of `arrays`, by name, that lie elsewhere come a few shards ahead."""
        shards = by_shard(positions, self.shard_rows)
        while ahead := list(islice(shards, _FETCHED)):
            bring(self.chunk_place(name, shard, of.ndim) for shard, _, _ in ahead for name, of in arrays.items())
            yield from ahead

    def chunk(self, name: str, shard: int, array: zarr.Array | None = None) -> np.ndarray:
        """The rows (shard_rows, …) of a shard, which are those that were written. Raises StoreError if they are not.

        `array` is that of the name, opened here if not given. A damaged copy of one elsewhere is fetched again.
        """
        array = open_array(self.path / name) if array is None else array
        place, marker = self.chunk_place(name, shard, array.ndim), self.marker_place(shard)
        start, as_written = shard * self.shard_rows, partial(self._is_as_written, name, shard)
        return read_whole(place, lambda: read_chunk(array, place, start, self.shard_rows, as_written, marker))

    def _is_as_written(self, name: str, shard: int, rows: np.ndarray) -> bool:
        marker = self._markers[shard]
        if len(rows) != self.shard_rows:
            return False  # zarr.json says that the array is shorter
        if marker.of_all is None:
            of = marker.arrays.get(name)
            return (
                of is not None and of.fits(rows) and of.checksum == chunk_checksum(self.fingerprint, shard, name, rows)
            )
        if shard not in self._checked:
            chunks = chunks_of(self.path, shard, self.shard_rows)
            if checksum_of_all(chunks) != marker.of_all:
                return False
            self._checked.add(shard)
        return True

    def _keys_by_number(self) -> Mapping[int, np.ndarray] | None:
        """The keys of each shard of the plan; None where there is no plan. Raises StoreError if it does not hold."""
        if self._planned is None and (found := read_plan(self.path / PLAN)) is not None:
            if not self._holds(found):
                raise StoreError(
                    f"{self.path / PLAN}: expected a plan of shards of {self.shard_rows} rows under fingerprint"
                    f" {self.fingerprint}, found {found.shard_rows} rows under {found.fingerprint}. Work with the"
                    " settings that it was made with"
                )
            self._planned = found.keys
        return self._planned

    def unfinished(self, notice: Callable[[str], None]) -> Mapping[int, np.ndarray]:
        """The keys of the shards of the plan that are not stored, as long as it holds; `notice` as of `plan`."""
        try:
            found = read_plan(self.path / PLAN)
        except StoreError as error:
            notice(str(error))
            return {}
        if found is None or not self._holds(found):
            return {}
        return {number: keys for number, keys in found.keys.items() if number not in self._markers}

    def _holds(self, plan: ShardPlan) -> bool:
        return (plan.fingerprint, plan.shard_rows) == (self.fingerprint, self.shard_rows)

    def _num_shards(self, number: int = -1) -> int:
        """How many shards the arrays must have room for: those stored, those planned and `number`."""
        return 1 + max(number, *self._markers, *(self._planned or ()), -1)

    def chunk_place(self, name: str, shard: int, num_dimensions: int) -> Path:
        """The file of a shard's chunk of the array `name`."""
        return self.path / name / "c" / str(shard) / "/".join("0" * (num_dimensions - 1))

    def marker_place(self, shard: int) -> Path:
        """The file of a shard's marker."""
        return marker_place(self.path, shard)
