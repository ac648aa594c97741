"""Gradient rows in Zarr v3: append-only shards of keyed rows, each whole or absent.

A `GradientTable` holds the rows of one kind (`pool` or `target`). For every checkpoint c and Γ form f it has the arrays

    c/f/rows   (S·shard_rows, k) float16   unit vectors, zeros for a row that is set aside
    c/f/norm   (S·shard_rows,)   float32   of the projected Γ; 0, NaN or Inf sets the row aside
    c/loss     (S·shard_rows,)   float32   nats a learned token
    key        (S·shard_rows, 16) uint8    content key (`examples/keys.py`)
    num_answer_tokens (S·shard_rows,) int32

One chunk is one shard, with crc32c and no compression: gradients do not compress. A shard with fewer rows than
`shard_rows` is padded with zeros and its marker says how many count. Markers (`markers/000007.json`) are written last,
after an fsync of the shard's chunks; chunks without a marker are a crash's leftovers and are swept before new ones.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from g2is.errors import StoreError
from g2is.store.files import fsync, fsync_folder, read_json, remove, write_json


@dataclass(frozen=True)
class FormRows:
    """One Γ form's rows of a shard: `rows` (R, k) float16 unit vectors, `norm` (R,) float32."""

    rows: np.ndarray
    norm: np.ndarray


@dataclass(frozen=True)
class CheckpointRows:
    """One checkpoint's rows of a shard: `loss` (R,) float32 in nats a learned token, and each Γ form's rows."""

    loss: np.ndarray
    forms: Mapping[str, FormRows]


@dataclass(frozen=True)
class Shard:
    """What extracting one shard gives: `key` (R, 16) uint8, `num_answer_tokens` (R,) int32, rows by checkpoint."""

    key: np.ndarray
    num_answer_tokens: np.ndarray
    checkpoints: Mapping[str, CheckpointRows]

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array of the shard by its path in the table."""
        arrays = {"key": self.key, "num_answer_tokens": self.num_answer_tokens}
        for checkpoint, of_checkpoint in self.checkpoints.items():
            arrays[f"{checkpoint}/loss"] = of_checkpoint.loss
            for form, of_form in of_checkpoint.forms.items():
                arrays[f"{checkpoint}/{form}/rows"] = of_form.rows
                arrays[f"{checkpoint}/{form}/norm"] = of_form.norm
        return arrays


class GradientTable:
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
        """Remove what a crash left: chunks without a marker and partial files. Returns how many were removed."""
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
                f"{self.path}: expected the gradients of all {len(keys)} rows, found {found.count(-1)} missing; run"
                " `g2is gradients` (or `g2is select`) first"
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

    def write(self, number: int, shard: Shard) -> None:
        """Store a shard: its chunks, an fsync, then its marker."""
        num_rows = len(shard.key)
        assert number not in self._num_rows, f"shard {number} is already stored"
        assert 0 < num_rows <= self.shard_rows, f"{num_rows} rows in a shard of {self.shard_rows}"
        checksum = hashlib.blake2b(digest_size=16)
        start = number * self.shard_rows
        for name, values in sorted(shard.arrays().items()):
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

    def read(self, name: str, positions: np.ndarray) -> np.ndarray:
        """The rows of array `name` at `positions` (n,), in that order, reading each shard once.

        Raises StoreError naming a damaged shard.
        """
        array = self._array(name)
        out = np.empty((len(positions), *array.shape[1:]), array.dtype)
        shard_of = positions // self.shard_rows
        order = np.argsort(shard_of, kind="stable")
        bounds = np.searchsorted(shard_of[order], np.arange(array.shape[0] // self.shard_rows + 1))
        for shard, (low, high) in enumerate(pairwise(bounds)):
            if low < high:
                wanted = order[low:high]
                out[wanted] = self._chunk(array, name, shard)[positions[wanted] - shard * self.shard_rows]
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

    def _array(self, name: str, like: np.ndarray | None = None) -> zarr.Array:
        folder = self.path / name
        if (folder / "zarr.json").exists():
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
                f" {marker.get('fingerprint')}. The store holds rows of another adapter: name another --store"
            )
        self._num_rows[int(path.stem)] = int(marker["num_rows"])
