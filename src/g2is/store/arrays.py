"""The Zarr v3 arrays of a table: a chunk is a shard, with crc32c and no compression, for gradients do not compress.

An array is `zarr.json` and `c/NUMBER/0…`. Zarr writes each of these files under another name and renames it, so two
processes that make an array at a time, each as long as the plan says, make the same one.
"""

from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.errors import ContainsArrayError

from g2is.config.strict import special_kind
from g2is.errors import StoreError, first_line, may_not_be_read, pass_on_too_little_memory
from g2is.store.files import fsync, fsync_folder

METADATA = "zarr.json"


def open_array(folder: Path, *, to_write: bool = False) -> zarr.Array:
    """The array in `folder`. Raises StoreError if there is none, or its zarr.json is damaged."""
    if not (folder / METADATA).exists():
        raise StoreError(f"{folder}: expected an array of the store, found none. Was the store written to the end?")
    if (kind := special_kind(folder / METADATA)) is not None:
        raise StoreError(f"{folder / METADATA}: expected an array of the store, found {kind}. Put a whole copy back")
    with zarr.config.set({"array.write_empty_chunks": True}):  # an array forgets it when it is opened again
        try:
            return zarr.open_array(folder, mode="r+" if to_write else "r")
        except PermissionError:
            raise may_not_be_read(folder / METADATA) from None
        except Exception as error:  # zarr, numcodecs and json tell of damage in many ways
            pass_on_too_little_memory(error)
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise StoreError(
                f"{folder / METADATA}: expected an array of the store, found a damaged file ({first_line(error)})."
                " Put a whole copy back, or name another --store"
            ) from None


def open_or_make_array(folder: Path, like: np.ndarray, num_shards: int, shard_rows: int) -> zarr.Array:
    """The array in `folder`, to write to; made for rows like those of `like` (R, …) and `num_shards`, if need be."""
    if not (folder / METADATA).exists():
        try:
            return zarr.create_array(
                folder,
                shape=(num_shards * shard_rows, *like.shape[1:]),
                chunks=(shard_rows, *like.shape[1:]),
                dtype=like.dtype,
                compressors=[Crc32cCodec()],
                config={"write_empty_chunks": True},
            )
        except ContainsArrayError:  # another process was faster
            check_fits(folder, like)
    array = open_array(folder, to_write=True)
    if array.shape[0] < num_shards * shard_rows:
        _resize(array, folder, num_shards * shard_rows)
    return array


def check_fits(folder: Path, values: np.ndarray) -> None:
    """Raise StoreError if the array in `folder`, if there is one, has rows of another shape or type than `values`."""
    if not (folder / METADATA).exists():
        return
    array = open_array(folder)
    stored, found = (array.shape[1:], array.dtype), (values.shape[1:], values.dtype)
    if found != stored:
        raise StoreError(
            f"{folder}: expected rows of shape {stored[0]} and type {stored[1]}, as in the shards"
            f" before, found {found[0]} and {found[1]}. What makes them has changed: name another --store"
        )


def arrays_below(path: Path) -> list[Path]:
    """The folders of all arrays below `path`."""
    return [metadata.parent for metadata in path.rglob(METADATA)]


def fit_arrays(path: Path, length: int) -> None:
    """Give every array below `path` room for `length` rows, no more and no less."""
    for folder in arrays_below(path):
        array = open_array(folder, to_write=True)
        if array.shape[0] != length:
            _resize(array, folder, length)


def write_chunk(array: zarr.Array, folder: Path, shard: int, rows: np.ndarray) -> None:
    """Write shard number `shard` (shard_rows, …) to the array in `folder`, and make it durable."""
    array[shard * len(rows) : (shard + 1) * len(rows)] = rows
    chunk = folder / "c" / str(shard) / "/".join("0" * (array.ndim - 1))
    fsync(chunk)  # and nothing beside it: another process may be writing the same
    while chunk != folder:
        chunk = chunk.parent
        fsync_folder(chunk)
    fsync(folder / METADATA)


def chunks_without(path: Path, shards: set[int]) -> list[Path]:
    """The chunks of all arrays below `path` that are of none of `shards`."""
    found = []
    for folder in arrays_below(path):
        chunks = folder / "c"
        if chunks.is_dir():
            found += [chunk for chunk in chunks.iterdir() if chunk.name.isdigit() and int(chunk.name) not in shards]
    return found


def _resize(array: zarr.Array, folder: Path, length: int) -> None:
    array.resize((length, *array.shape[1:]))
    fsync(folder / METADATA)
    fsync_folder(folder)
