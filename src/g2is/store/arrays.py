"""The Zarr v3 arrays of a table: a chunk is a shard, with crc32c and no compression, for gradients do not compress.

An array is `zarr.json` and `c/NUMBER/0…`; in object storage, objects of these keys and bytes. Zarr writes each of these
files under another name and renames it, so two processes that make an array at a time, each as long as the plan says,
make the same one.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.errors import ContainsArrayError

from g2is.config.strict import special_kind
from g2is.errors import StoreError, first_line, may_not_be_read, pass_on_too_little_memory
from g2is.store.elsewhere import bring, elsewhere, keep
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
    expected = (shard_rows, *like.shape[1:])
    if array.chunks != expected or not _has_plain_codecs(array):
        raise StoreError(
            f"{folder / METADATA}: expected an array of the store with chunks of shape {expected}, found a damaged file"
            f" (chunks of {array.chunks}). `g2is verify --repair` of the store writes it anew"
        )
    if array.shape[0] < num_shards * shard_rows:
        _resize(array, folder, num_shards * shard_rows)
    return array


def _has_plain_codecs(array: zarr.Array) -> bool:
    """Whether chunks are written as those of every array are: little-endian bytes, then their crc32c."""
    names = [codec.to_dict().get("name") for codec in array.metadata.codecs]
    return names == ["bytes", "crc32c"]


def by_shard(positions: np.ndarray, shard_rows: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Which of `positions` (n,) lie in which shard: its number, their indices (r,), and where in it they are, (r,).

    Shards come in ascending order, each once.
    """
    shard_of = positions // shard_rows
    order = np.argsort(shard_of, kind="stable")
    bounds = np.searchsorted(shard_of[order], np.arange(shard_of.max(initial=-1) + 2))
    for shard, (low, high) in enumerate(pairwise(bounds)):
        if low < high:
            yield shard, order[low:high], positions[order[low:high]] - shard * shard_rows


def check_fits(folder: Path, values: np.ndarray) -> None:
    """Raise StoreError if the array in `folder`, if there is one, has rows of another shape or type than `values`."""
    if not (folder / METADATA).exists():
        return
    array = open_array(folder)
    stored, found = (array.shape[1:], array.dtype), (values.shape[1:], values.dtype)
    if found != stored:
        raise StoreError(
            f"{folder}: expected rows of shape {stored[0]} and type {stored[1]}, as in the shards"
            f" before, found {found[0]} and {found[1]}. What makes them has changed: name another --store; or"
            f" {folder / METADATA} was changed: `g2is verify` of the store with --repair puts it right"
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
    for above in chunk.parents:
        if above.is_relative_to(folder):
            fsync_folder(above)
    fsync(folder / METADATA)
    keep(folder / METADATA, folder / METADATA)
    keep(chunk, chunk)


def read_chunk(
    array: zarr.Array,
    place: Path,
    start: int,
    num_rows: int,
    is_as_written: Callable[[np.ndarray], bool],
    marker: Path,
) -> np.ndarray:
    """The rows (num_rows, …) of the chunk in the file `place`, which begins at row `start` of `array`.

    Raises StoreError if they are not as they were written; removing its `marker` has them made anew.
    """
    try:
        if not place.exists():  # zarr would answer zeros
            raise FileNotFoundError("the chunk is missing")
        rows = np.asarray(array[start : start + num_rows])
        if not is_as_written(rows):
            raise ValueError("these are not the bytes that were written")
    except PermissionError:
        raise may_not_be_read(place) from None
    except (ValueError, OSError) as error:
        raise StoreError(
            f"{place}: expected shard {int(marker.stem)} as it was written, found it damaged ({error}). Remove {marker}"
            " and run the same command again: only this shard is computed anew. Or let `g2is verify` with --repair"
            " find and mend all that is damaged in the store"
        ) from None
    return rows


def chunks_of(path: Path, shard: int, shard_rows: int) -> dict[str, np.ndarray]:
    """The chunks (shard_rows, …) of a shard in all arrays below `path`, by the arrays' names."""
    arrays = {folder.relative_to(path).as_posix(): open_array(folder) for folder in arrays_below(path)}
    bring(path / name / "c" / str(shard) / "/".join("0" * (of.ndim - 1)) for name, of in arrays.items())
    return {name: np.asarray(of[shard * shard_rows :][:shard_rows]) for name, of in arrays.items()}


def chunks_without(path: Path, shards: set[int]) -> list[Path]:
    """The chunks of all arrays below `path` that are of none of `shards`."""
    found = []
    for folder in arrays_below(path):
        chunks, of = folder / "c", elsewhere(folder)
        names = {chunk.name for chunk in chunks.iterdir()} if chunks.is_dir() else set[str]()
        names |= of.names(chunks) if of is not None else set()
        found += [chunks / name for name in sorted(names) if name.isdigit() and int(name) not in shards]
    return found


def _resize(array: zarr.Array, folder: Path, length: int) -> None:
    array.resize((length, *array.shape[1:]))
    fsync(folder / METADATA)
    fsync_folder(folder)
    keep(folder / METADATA, folder / METADATA)
