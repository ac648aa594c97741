"""The outline of a store in object storage: its files with sizes and times, without what only a computation reads.

What lists a store, or finds what in it serves nobody, looks at no more than names, sizes, times and small files.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g2is.errors import InputError
from g2is.store.mirror import at_once, split_halves
from g2is.store.objects import Bucket, Object
from g2is.store.reach import check_is_store, named

_SMALL = (".json", ".npz")  # manifests, markers, plans
_TABLE, _TAIL = ".parquet", 8  # a table ends in what it holds, four bytes of the length of that, and PAR1


@contextmanager
def outlined(store: Path | str) -> Iterator[Path]:
    """A folder that looks like the store; for one on a disk itself, for that of a URL one that ends with this.

    JSON files and plans in it are whole, and tables tell what they hold; the rest has length and time alone. Folders
    that a stop left neither whole nor absent have the name that they would have on a disk. Nothing is locked or
    written. Raises InputError if there is nothing at the URL, StoreError if it cannot be reached or is no store.
    """
    if isinstance(store, Path):
        yield store
        return
    bucket = Bucket(store)
    found = bucket.find()
    check_there_is_one(bucket.url, found)
    partial, halves = split_halves(found)
    with tempfile.TemporaryDirectory(prefix="g2is-") as scratch:
        folder = Path(scratch) / "store"

        def draw(key: str) -> None:
            _draw(bucket, key, found[key], folder / halves.get(key, key))

        at_once(draw, [key for key in found if key not in partial and key.rpartition("/")[2] != ".lock"])
        with named(folder, bucket.url):
            yield folder


def check_there_is_one(url: str, found: dict[str, Object]) -> None:
    """Raise InputError if nothing was found at the URL of a store, StoreError if it was something else."""
    if not found.keys() - {".lock"}:
        raise InputError(f"{url}: expected a store, found no objects; check the URL")
    check_is_store(url, found)


def _draw(bucket: Bucket, key: str, of: Object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.suffix in _SMALL:
            bucket.get_to(key, path)
        else:
            with path.open("wb") as file:
                file.truncate(of.size)  # which takes no room
                if path.suffix == _TABLE and of.size > _TAIL:
                    length = _TAIL + int.from_bytes(bucket.get_part(key, of.size - _TAIL, 4), "little")
                    if length <= of.size:
                        file.seek(of.size - length)
                        file.write(bucket.get_part(key, of.size - length, length))
    except FileNotFoundError:  # gone since it was listed
        path.unlink(missing_ok=True)
        return
    if of.modified is not None:
        os.utime(path, (of.modified.timestamp(),) * 2)
