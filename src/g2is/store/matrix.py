"""Keyed rows in Zarr v3: append-only shards, each whole or absent.

A `RowTable` holds the rows of one kind (`pool` or `target`) of one representation, as arrays by name:

    key        (S·shard_rows, 16) uint8    content key (`examples/keys.py`)
    NAME       (S·shard_rows, …)           whatever the representation stores; NAME may have / in it

Unit rows (`store/rows.py`) are `rows` (S·shard_rows, k) float16 with `norm` (S·shard_rows,) float32: hidden states and
embeddings store these two, lexical terms `terms` (S·shard_rows, w) int32. Gradients have for every checkpoint c and Γ
form f `c/f/rows` and `c/f/norm`, for every checkpoint `c/loss` float32, nats a learned token, and `num_answer_tokens`
int32.

One chunk is one shard, with crc32c and no compression: gradients do not compress. A shard with fewer rows than
`shard_rows` is padded with zeros and its marker says how many count. Markers (`markers/000007.json`) are written last,
after an fsync of the shard's chunks; chunks without a marker are a crash's leftovers and are swept before new ones.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from g2is.errors import StoreError
from g2is.store.files import fsync, fsync_folder, read_json, remove, write_json


@dataclass(frozen=True)
class Shard:
    """What computing one shard gives: `key` (R, 16) uint8, and arrays (R, …) by name."""

    key: np.ndarray
    arrays: Mapping[str, np.ndarray]


class RowTable:
    """The rows of one kind in a store. One process writes at a time (the store's lock sees to it); many may read."""

    def __init__(self, path: Path, fingerprint: str, shard_rows: int) -> None:
        """Open or start the table at `path`, whose shards were made under the fingerprint digest `fingerprint`."""
        self.path = path
        self.shard_rows = shard_rows
        self._fingerprint = fingerprint
        self._num_rows: dict[int, int] = {}
        for marker in sorted((path / "markers").glob("*.json")):
            self._read_marker(marker)

    def sweep(self) -> int:
        """Remove what a crash left: chunks without a marker and partial files. Returns how many were removed.

        Where no shard is stored, all goes: the next may be made under other settings, with rows of another shape.
        """
        if not self._num_rows and self.path.is_dir():
            leftovers = list(self.path.iterdir())
            for leftover in leftovers:
                remove(leftover)
            return len(leftovers)
        leftovers = list(self.path.rglob("*.partial"))
        for metadata in self.path.rglob("zarr.json"):
            chunks = metadata.parent / "c"
            if chunks.is_dir():
                leftovers += [
                    chunk
                    for chunk in chunks.iterdir()
                    if chunk.name.isdigit() and int(chunk.name) not in self._num_rows
                ]
        for leftover in leftovers:
            remove(leftover)
        return len(leftovers)

    def positions(self) -> dict[bytes, int]:
        """Where each stored key's row stands in the arrays."""
        if not self._num_rows:
            return {}
        array = self._array("key")
        found: dict[bytes, int] = {}
        for shard, num_rows in sorted(self._num_rows.items()):
            for offset, key in enumerate(self._chunk(array, "key", shard)[:num_rows]):
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

    def next_shards(self, num_shards: int) -> list[int]:
        """The lowest `num_shards` shard numbers not yet taken."""
        numbers: list[int] = []
        candidate = 0
        while len(numbers) < num_shards:
            if candidate not in self._num_rows:
                numbers.append(candidate)
            candidate += 1
        return numbers

    def width(self, name: str) -> int:
        """How many numbers a row of the two-dimensional array `name` has. Raises StoreError if there is none."""
        return int(self._array(name).shape[1])

    def write(self, number: int, shard: Shard) -> None:
        """Store a shard: its chunks, an fsync, then its marker.

        Raises StoreError, with nothing written, if its arrays are not of the shape and dtype of those stored before.
        """
        num_rows = len(shard.key)
        assert number not in self._num_rows, f"shard {number} is already stored"
        assert 0 < num_rows <= self.shard_rows, f"{num_rows} rows in a shard of {self.shard_rows}"
        arrays = {**shard.arrays, "key": shard.key}
        for name, values in arrays.items():
            assert len(values) == num_rows, f"{name}: {len(values)} rows in a shard of {num_rows}"
            self._check_fits(name, values)
        checksum = hashlib.blake2b(digest_size=16)
        start = number * self.shard_rows
        for name, values in sorted(arrays.items()):
            array = self._array(name, like=values)
            if array.shape[0] < start + self.shard_rows:
                array.resize((start + self.shard_rows, *array.shape[1:]))
            padded = np.zeros((self.shard_rows, *values.shape[1:]), values.dtype)
            padded[:num_rows] = values
            array[start : start + self.shard_rows] = padded
            checksum.update(name.encode() + b"\0" + padded.tobytes())
            chunk = self.path / name / "c" / str(number)
            fsync(chunk)
            fsync_folder(chunk.parent)
            fsync(self.path / name / "zarr.json")
        marker = {"fingerprint": self._fingerprint, "num_rows": num_rows, "checksum": checksum.hexdigest()}
        write_json(self.path / "markers" / f"{number:06d}.json", marker)
        self._num_rows[number] = num_rows

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
        array = self._array(name)
        if out is None:
            out = np.empty((len(positions), *array.shape[1:]), array.dtype)
        shard_of = positions // self.shard_rows
        order = np.argsort(shard_of, kind="stable")
        bounds = np.searchsorted(shard_of[order], np.arange(array.shape[0] // self.shard_rows + 1))
        for shard, (low, high) in enumerate(pairwise(bounds)):
            if low < high:
                wanted = order[low:high]
                out[wanted] = self._chunk(array, name, shard)[positions[wanted] - shard * self.shard_rows]
                progress(len(wanted))
        return out

    def _chunk(self, array: zarr.Array, name: str, shard: int) -> np.ndarray:
        start = shard * self.shard_rows
        place = self.path / name / "c" / str(shard) / "/".join("0" * (array.ndim - 1))
        try:
            if not place.exists():  # zarr would answer zeros
                raise FileNotFoundError("the chunk is missing")
            return np.asarray(array[start : start + self.shard_rows])
        except (ValueError, OSError) as error:
            raise StoreError(
                f"{place}: expected shard {shard} as it was written, found it damaged ({error}). Remove"
                f" {self._marker(shard)} and run the same command again: only this shard is computed anew"
            ) from None

    def _check_fits(self, name: str, values: np.ndarray) -> None:
        if not (self.path / name / "zarr.json").exists():
            return
        array = self._array(name)
        stored, found = (array.shape[1:], array.dtype), (values.shape[1:], values.dtype)
        if found != stored:
            raise StoreError(
                f"{self.path / name}: expected rows of shape {stored[0]} and type {stored[1]}, as in the shards"
                f" before, found {found[0]} and {found[1]}. What makes them has changed: name another --store"
            )

    def _array(self, name: str, like: np.ndarray | None = None) -> zarr.Array:
        folder = self.path / name
        if (folder / "zarr.json").exists():
            with zarr.config.set({"array.write_empty_chunks": True}):  # an array forgets it when it is opened again
                return zarr.open_array(folder, mode="r+" if like is not None else "r")
        if like is None:
            raise StoreError(f"{folder}: expected an array of the store, found none. Was the store written to the end?")
        return zarr.create_array(
            folder,
            shape=(0, *like.shape[1:]),
            chunks=(self.shard_rows, *like.shape[1:]),
            dtype=like.dtype,
            compressors=[Crc32cCodec()],
            config={"write_empty_chunks": True},
        )

    def _marker(self, shard: int) -> Path:
        return self.path / "markers" / f"{shard:06d}.json"

    def _read_marker(self, path: Path) -> None:
        marker = read_json(path)
        if marker.get("fingerprint") != self._fingerprint:
            raise StoreError(
                f"{path}: expected a shard made under fingerprint {self._fingerprint}, found"
                f" {marker.get('fingerprint')}. The store holds rows made with another adapter or other settings: name"
                " another --store"
            )
        self._num_rows[int(path.stem)] = int(marker["num_rows"])
