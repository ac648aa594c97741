"""The marker of a stored shard: what was written, and the checksums by which it is known again.

    fingerprint  what the shard was made under
    num_rows     rows that count; the rest of a chunk is padding
    arrays       by name: dtype, shape of a row, and the checksum of the chunk

What a reader expects of an array comes from here, not from the array's own zarr.json. A checksum is taken over the name
of the array, the fingerprint, the shard's number and the chunk's bytes: a whole chunk of another shard, array or store
is not this one. Markers of older stores have one `checksum`, of all arrays of the shard together.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from g2is.errors import StoreError, may_not_be_read
from g2is.store.files import as_json, read_json, write_atomically

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class StoredArray:
    """One array's part of a shard: `dtype`, `row_shape` of one row of it, `checksum` of its chunk with the padding."""

    dtype: str
    row_shape: tuple[int, ...]
    checksum: str

    def fits(self, rows: np.ndarray) -> bool:
        """Whether `rows` (R, …) are of this shape and type."""
        return (str(rows.dtype), rows.shape[1:]) == (self.dtype, self.row_shape)


@dataclass(frozen=True)
class Marker:
    """What a shard's marker says. `arrays` is empty and `of_all` set where it was written by an older version."""

    num_rows: int
    arrays: Mapping[str, StoredArray]
    of_all: str | None = None


def chunk_checksum(fingerprint: str, number: int, name: str, padded: np.ndarray) -> str:
    """The checksum of the chunk `padded` (shard_rows, …), which is shard `number` of array `name`."""
    total = hashlib.blake2b(f"{fingerprint}\0{number}\0{name}\0".encode(), digest_size=_DIGEST_BYTES)
    total.update(np.ascontiguousarray(padded).data)
    return total.hexdigest()


def checksum_of_all(arrays: Mapping[str, np.ndarray]) -> str:
    """The one checksum that older markers have: over the chunks of all arrays in the order of their names."""
    total = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name, padded in sorted(arrays.items()):
        total.update(name.encode() + b"\0")
        total.update(np.ascontiguousarray(padded).data)
    return total.hexdigest()


def markers_in(table: Path) -> list[Path]:
    """The markers of a table's folder, in the order of their numbers.

    Raises StoreError where they may not be listed: a folder that only looks empty must not be taken for one without
    shards, whose chunks are a crash's leftovers.
    """
    try:
        entries = list((table / "markers").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        raise may_not_be_read(table / "markers") from None
    return sorted(entry for entry in entries if entry.suffix == ".json" and entry.stem.isdigit())


def marker_place(table: Path, shard: int) -> Path:
    """Where the marker of a shard of the table in the folder `table` lies."""
    return table / "markers" / f"{shard:06d}.json"


def write_marker(path: Path, fingerprint: str, marker: Marker) -> None:
    """Write `marker` to `path`, atomically; the shard counts from then on."""
    arrays = {
        name: {"dtype": of.dtype, "row_shape": list(of.row_shape), "checksum": of.checksum}
        for name, of in sorted(marker.arrays.items())
    }
    text = as_json({"fingerprint": fingerprint, "num_rows": marker.num_rows, "arrays": arrays}, path.name)

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write, alone=False)


def read_marker(path: Path, fingerprint: str, shard_rows: int) -> Marker:
    """Read the marker at `path` of a shard of at most `shard_rows` rows that was made under `fingerprint`.

    Raises StoreError if it is damaged, or made under another fingerprint.
    """
    found = read_json(path)
    if found.get("fingerprint") != fingerprint:
        raise StoreError(
            f"{path}: expected a shard made under fingerprint {fingerprint}, found {found.get('fingerprint')}. The"
            " store holds rows made with another adapter or other settings: name another --store"
        )
    try:
        marker = _parsed(found)
    except (KeyError, TypeError, ValueError, AttributeError):
        marker = Marker(0, {})
    if not 0 < marker.num_rows <= shard_rows or not (marker.arrays or marker.of_all):
        raise StoreError(
            f"{path}: expected the marker of a shard of 1 to {shard_rows} rows with checksums, found a damaged one."
            " Remove it and run the same command again: only this shard is computed anew"
        )
    return marker


def _parsed(found: Mapping[str, Any]) -> Marker:
    num_rows, of_all = found["num_rows"], found.get("checksum")
    if type(num_rows) is not int or not isinstance(of_all, str | None):
        raise TypeError
    arrays = {
        name: StoredArray(np.dtype(of["dtype"]).name, tuple(map(int, of["row_shape"])), str(of["checksum"]))
        for name, of in found.get("arrays", {}).items()
    }
    return Marker(num_rows, arrays, of_all)
