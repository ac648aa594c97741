"""Where a store is: a folder of this machine, or below a URL of object storage, with a folder here that mirrors it.

CACHE = $G2IS_CACHE, else $XDG_CACHE_HOME/g2is, else ~/.cache/g2is    may be removed when no command runs
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from g2is.errors import G2isError, StoreError
from g2is.progress import Reporter
from g2is.store import elsewhere
from g2is.store.lease import Lease, words_in
from g2is.store.lock import locked, waits, words
from g2is.store.manifest import BEGUN, MANIFEST, MANIFEST_COPY
from g2is.store.mirror import Mirror
from g2is.store.objects import ENDPOINTS, Bucket, NoLeaveError

_RECORD = (MANIFEST, *BEGUN)


@contextmanager
def reached(store: Path | str, reporter: Reporter, *, whole: bool = False) -> Iterator[Path]:
    """The folder of a store; one of a URL is held for this process, and mirrored here until this ends.

    If it is to be `whole`, all that lies there is brought anew, and nothing there is swept: so it can be checked.
    One that this user may not write to is mirrored to be read, and not held. Raises StoreError if another process holds
    it and it is not to be waited for, if it cannot be reached, or there are other objects than a store's.
    """
    if isinstance(store, Path):
        yield store
        return
    bucket = Bucket(store)
    folder = _folder_of(bucket)
    lease, mirror = Lease(bucket), Mirror(bucket, folder, lambda: lease.check())
    _make(mirror.root, bucket.url)
    with ExitStack() as held, _named(mirror.root, mirror.url):
        held.enter_context(locked(mirror.root, "store"))
        held.callback(lambda: lease.release(remove=mirror.is_empty()))
        try:
            lease.take(reporter, waits())
        except NoLeaveError:
            if MANIFEST not in bucket.find():
                raise
            mirror.writable = False
        check_is_store(bucket.url, bucket.find())
        with reporter.stage("fetch store", "bytes") as progress:
            mirror.bring(progress, sweep=mirror.writable and not whole, whole=whole)
        elsewhere.add(mirror)
        held.callback(elsewhere.remove, mirror)
        yield mirror.root


@contextmanager
def reached_to_write(url: str, reporter: Reporter) -> Iterator[Path]:
    """As `reached`, of the store at a URL. Raises StoreError if it may only be read."""
    with reached(url, reporter) as path:
        of = elsewhere.elsewhere(path)
        if of is None or not of.writable:
            raise StoreError(f"{url}: expected a store that can be written to, found one that may only be read")
        yield path


def join(store: Path | str) -> Path:
    """The folder of a store that another process holds, for this one, which makes shards of its plan until it ends."""
    if isinstance(store, Path):
        return store
    bucket = Bucket(store)
    mirror = Mirror(bucket, _folder_of(bucket), lambda: None)
    _make(mirror.root, bucket.url)
    with _named(mirror.root, mirror.url):
        mirror.bring(lambda done, total: None, sweep=False)
    elsewhere.add(mirror)
    return mirror.root


def words_of(store: Path | str) -> str:
    """What a store's lock says of who holds it, or ""; two holders never say the same."""
    return words(store) if isinstance(store, Path) else words_in(Bucket(store))


@contextmanager
def record_of(store: Path | str) -> Iterator[Path]:
    """A folder with what a store says it was made with, of one that is neither held nor written to."""
    if isinstance(store, Path):
        yield store
        return
    bucket = Bucket(store)
    found = bucket.find()
    check_is_store(bucket.url, found)
    with standing_for(bucket.url) as folder:
        for key in found:
            if any(fnmatchcase(key, name) for name in _RECORD):
                (folder / key).parent.mkdir(parents=True, exist_ok=True)
                bucket.get_to(key, folder / key)
        yield folder


@contextmanager
def standing_for(url: str) -> Iterator[Path]:
    """The place of a folder that stands for a store at a URL until this ends; it is not made yet."""
    with tempfile.TemporaryDirectory(prefix="g2is-") as scratch, _named(Path(scratch) / "store", url):
        yield Path(scratch) / "store"


@contextmanager
def _named(folder: Path, url: str) -> Iterator[None]:
    """Messages name the store by its URL, not the folder that stands for it here."""
    try:
        yield
    except G2isError as error:
        error.args = (str(error).replace(str(folder), url),)
        raise


def _folder_of(bucket: Bucket) -> Path:
    """Where the store of a URL is mirrored: one folder for each URL on each server."""
    cache = os.environ.get("G2IS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "g2is")
    known_by = [bucket.url, *(os.environ.get(name, "") for name in ENDPOINTS)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", bucket.url)[:80]
    mark = hashlib.blake2b("\0".join(known_by).encode(), digest_size=8).hexdigest()
    try:
        return Path(cache).expanduser().absolute() / "stores" / f"{name}-{mark}"
    except RuntimeError:  # a container's user may have no home
        raise StoreError(
            f"{bucket.url}: expected a folder for what is read of it here, found none: {cache} names no home of a user."
            " Name a folder with the environment variable G2IS_CACHE"
        ) from None


def _make(folder: Path, url: str) -> None:
    """Make the `folder` of a mirror. Raises StoreError, naming it, where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StoreError(
            f"{url}: expected a folder for what is read of it here, found that {folder} cannot be written to"
            f" ({error.strerror}). Name another with the environment variable G2IS_CACHE"
        ) from None


def check_is_store(url: str, found: Collection[str]) -> None:
    """Raise StoreError if what was found at the URL is no store; before anything is fetched, for it may be large."""
    others = [key for key in found if not key.rpartition("/")[2].startswith(".")]
    if others and not {MANIFEST, MANIFEST_COPY} & set(others):
        raise StoreError(
            f"{url}: expected a g2is store or nothing, found other objects ({others[0]}"
            f"{f' and {len(others) - 1} more' if len(others) > 1 else ''}); name another --store"
        )
