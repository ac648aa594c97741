"""Every stored byte of a table of rows, held against its markers.

A table is sound as a whole or names what is not: reading goes on past the first damage, which `RowTable` stops at.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from g2is.errors import StoreError
from g2is.store.arrays import METADATA, arrays_below, chunks_without, fit_arrays, open_or_make_array
from g2is.store.elsewhere import keep
from g2is.store.files import is_sealed, read_json, remove
from g2is.store.markers import Marker, StoredArray, chunk_checksum, marker_place, markers_in, read_marker
from g2is.store.matrix import RowTable
from g2is.store.plan import PLAN, read_plan, write_plan

_KEY = "key"
_CRC_BYTES = 4
# Zarr reads past keys that it does not know, such as a known one that was damaged.
_KNOWN_KEYS = {
    *("shape", "data_type", "chunk_grid", "name", "configuration", "chunk_shape", "chunk_key_encoding", "separator"),
    *("fill_value", "codecs", "endian", "attributes", "zarr_format", "node_type", "storage_transformers"),
    *("dimension_names", "consolidated_metadata"),
}
CHANGED = "other bytes than were written"


@dataclass(frozen=True)
class Flaw:
    """A file of a table that is not as it was written, and how it comes right.

    `shard` is the number of the shard it belongs to, None if it belongs to none; `keys` (R, 16) uint8 of the rows it
    holds as far as they can still be read, `num_rows` how many those are. `mend` removes what must be made anew, None
    where that would not serve.
    """

    path: Path
    found: str
    shard: int | None = None
    keys: np.ndarray | None = None
    num_rows: int = 0
    mend: Callable[[], None] | None = None


def fingerprints_of(path: Path) -> list[str]:
    """What the markers of the table at `path` say it was made under, as far as they can be read, each once."""
    found: dict[str, None] = {}
    for marker in markers_in(path):
        try:
            found[str(read_json(marker).get("fingerprint"))] = None
        except StoreError:
            continue
    return list(found)


def check_table(
    path: Path, fingerprint: str, shard_rows: int, checked: Callable[[Path], None] = lambda _: None
) -> Iterator[Flaw]:
    """Yield what is not as it was written of the table at `path`; `checked` is told of each file that was read."""
    markers: dict[int, Marker] = {}
    for file in markers_in(path):
        checked(file)
        try:
            marker = read_marker(file, fingerprint, shard_rows)
            if not is_sealed(file):
                raise StoreError(CHANGED)
            markers[int(file.stem)] = marker
        except (StoreError, ValueError) as error:
            yield Flaw(file, _first(error), int(file.stem), mend=_Without(path, int(file.stem), shard_rows))
    planned, flaw = _planned(path / PLAN, checked)
    if flaw is not None:
        yield flaw
    least = 1 + max([*markers, -1])  # a stop may come before arrays have room for what is planned
    most = 1 + max([*markers, *planned, -1])
    stored: dict[str, StoredArray] = {name: of for marker in markers.values() for name, of in marker.arrays.items()}
    sound = set()
    for name, of in sorted(stored.items()):
        checked(path / name / METADATA)
        if _has_metadata(path / name, of, range(least, most + 1), shard_rows):
            sound.add(name)
        else:
            anew = _Metadata(path / name, of, most, shard_rows)
            yield Flaw(path / name / METADATA, "not the shape, type and codecs that were written", mend=anew)
    table = RowTable(path, fingerprint, shard_rows, without=_all_but(path, markers))
    for shard, marker in sorted(markers.items()):
        yield from _flaws_of_shard(table, shard, marker, sound, checked)
    if not planned:  # else they are of a shard that was being written when it was stopped
        seen: set[int] = set()
        for chunk in chunks_without(path, set(markers) | _all_but(path, markers)):
            for file in (file for file in chunk.rglob("*") if file.is_file()):
                checked(file)
            if int(chunk.name) not in seen:
                seen.add(int(chunk.name))
                marker_file = marker_place(path, int(chunk.name))
                mend = _Without(path, int(chunk.name), shard_rows)
                yield Flaw(marker_file, "gone, with the chunks of its shard there", int(chunk.name), mend=mend)


def _flaws_of_shard(
    table: RowTable, shard: int, marker: Marker, sound: set[str], checked: Callable[[Path], None]
) -> Iterator[Flaw]:
    keys: np.ndarray | None = None
    flawed: list[tuple[Path, str]] = []
    names = sorted(marker.arrays) or [of.relative_to(table.path).as_posix() for of in arrays_below(table.path)]
    for name in sorted(names, key=lambda name: name != _KEY):
        place = table.chunk_place(name, shard, 1 if not marker.arrays else len(marker.arrays[name].row_shape) + 1)
        checked(place)
        try:
            if name in sound or not marker.arrays:
                rows = table.chunk(name, shard)
            else:
                rows = _raw_chunk(place, name, shard, marker.arrays[name], table)
            keys = rows[: marker.num_rows] if name == _KEY else keys
        except StoreError as error:
            flawed.append((place, "gone" if not place.exists() else _first(error)))
    for place, found in flawed:
        yield Flaw(place, found, shard, keys, marker.num_rows, _Without(table.path, shard, table.shard_rows))


def _raw_chunk(place: Path, name: str, shard: int, of: StoredArray, table: RowTable) -> np.ndarray:
    """The rows of a chunk whose zarr.json cannot be gone by."""
    if not place.exists():
        raise StoreError("gone")
    content, shape = place.read_bytes(), (table.shard_rows, *of.row_shape)
    dtype = np.dtype(of.dtype).newbyteorder("<")
    if len(content) != int(np.prod(shape)) * dtype.itemsize + _CRC_BYTES:
        raise StoreError(CHANGED)
    rows = np.frombuffer(content[:-_CRC_BYTES], dtype).reshape(shape)
    if chunk_checksum(table.fingerprint, shard, name, rows) != of.checksum:
        raise StoreError(CHANGED)
    return rows


def _has_metadata(folder: Path, of: StoredArray, num_shards: range, shard_rows: int) -> bool:
    """Whether the zarr.json in `folder` is that of an array of so many shards of such rows."""
    try:
        text = (folder / METADATA).read_text()
        found = zarr.open_array(folder, mode="r").metadata
    except Exception:  # zarr, numcodecs and json tell of damage in many ways
        return False
    expected = zarr.create_array(
        MemoryStore(),
        shape=(found.shape[0] if found.shape else 0, *of.row_shape),
        chunks=(shard_rows, *of.row_shape),
        dtype=of.dtype,
        compressors=[Crc32cCodec()],
    ).metadata
    has_room = found.shape and found.shape[0] in (number * shard_rows for number in num_shards)
    is_as_zarr_writes = text == json.dumps(json.loads(text), indent=2) and _keys(json.loads(text)) <= _KNOWN_KEYS
    return bool(has_room and found == expected) and is_as_zarr_writes


def _keys(value: Any) -> set[str]:
    """All keys of a JSON value, at any depth."""
    if isinstance(value, dict):
        return set(value) | set().union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()


@dataclass(frozen=True)
class _Without:
    """Takes a shard out of a table: the next command that asks for its rows makes it anew."""

    path: Path
    shard: int
    shard_rows: int

    def __call__(self) -> None:
        remove(marker_place(self.path, self.shard))
        left = {int(file.stem) for file in markers_in(self.path)}
        if (self.path / PLAN).exists():
            return  # what goes on with it sweeps, and fits the arrays to it
        for chunk in chunks_without(self.path, left):
            remove(chunk)
        if left:
            fit_arrays(self.path, (1 + max(left)) * self.shard_rows)
        else:
            remove(self.path)


@dataclass(frozen=True)
class _Metadata:
    """Writes the zarr.json of an array anew, beside the chunks that are there."""

    folder: Path
    of: StoredArray
    num_shards: int
    shard_rows: int

    def __call__(self) -> None:
        remove(self.folder / METADATA)
        like = np.empty((0, *self.of.row_shape), self.of.dtype)
        open_or_make_array(self.folder, like, self.num_shards, self.shard_rows)
        keep(self.folder / METADATA, self.folder / METADATA)


def _planned(path: Path, checked: Callable[[Path], None]) -> tuple[set[int], Flaw | None]:
    """The shards of the plan in the file `path`, and what is wrong with it."""
    if not path.exists():
        return set(), None
    checked(path)
    try:
        plan = read_plan(path)
        assert plan is not None
        with tempfile.TemporaryDirectory() as folder:
            write_plan(Path(folder) / PLAN, plan)
            same = (Path(folder) / PLAN).read_bytes() == path.read_bytes()
        return set(plan.keys), None if same else Flaw(path, CHANGED, mend=partial(remove, path))
    except StoreError as error:
        return set(), Flaw(path, _first(error), mend=partial(remove, path))


def _all_but(path: Path, markers: Mapping[int, Marker]) -> set[int]:
    """Shards whose marker cannot be gone by."""
    return {int(file.stem) for file in markers_in(path)} - markers.keys()


def _first(error: Exception) -> str:
    text = str(error).splitlines()[0]
    return CHANGED if "as it was written" in text or "as g2is wrote it" in text else text
