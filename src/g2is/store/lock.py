"""One g2is process at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from g2is.errors import G2isError, StoreError, TooLittleMemoryError
from g2is.store.files import naming_full_disk, remove


@contextmanager
def locked(folder: Path, what: str) -> Iterator[bool]:
    """Make `folder` and hold it for this process; yields whether it is new. The lock dies with the process.

    Raises StoreError if another process holds it, or the folder cannot be written to.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise StoreError(
            f"{folder}: expected a {what} folder whose path is UTF-8, as Parquet and Zarr need it, found other bytes."
            " Name another"
        ) from None
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"{folder}: this {what} is in use by another g2is process. Wait for it to end, or name another folder"
        ) from None
    except FileExistsError:
        raise StoreError(f"{folder}: expected a {what} folder, found a file of that name; name another") from None
    except OSError as error:
        raise StoreError(
            f"{folder}: expected a {what} folder that can be written to, found: {error.strerror or error}. Name"
            " another, or make it writable"
        ) from None
    try:
        with naming_full_disk(folder):
            yield new
    finally:
        lock.release()


@contextmanager
def removed_on_error(folder: Path, new: bool) -> Iterator[None]:
    """Leave nothing of a new folder behind if what it was made for turns out to be unusable.

    What too little memory stopped is not: where there is more, it goes on.
    """
    try:
        yield
    except G2isError as error:
        if new and not isinstance(error, TooLittleMemoryError):
            remove(folder)
        raise
