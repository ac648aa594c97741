"""The folder here that mirrors a store in object storage: the same files, which are the objects there, by their paths.

    CACHE/stores/NAME/files/           the mirror, a store as any other
    CACHE/stores/NAME/objects.jsonl    which object each file was, when it came or went: a line each, the last one holds

The bucket is what counts. A file is written there before it has its name here, and is removed there first; whatever
differs when the store is reached is brought from there, all but chunks of rows, which come when they are read. A folder
that is to be there as a whole, or not at all, has an object `.NAME.partial` beside it as long as it is neither; what
reaches the store next removes it.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from g2is.errors import StoreError
from g2is.progress import Progress
from g2is.store.digests import digest_of
from g2is.store.files import remove_here, write_text
from g2is.store.objects import Bucket, Object

_CHUNK = re.compile(r"(?:.*/)?c/\d+(?:/\d+)*")
_PARTIAL = re.compile(r"(?P<folder>(?:.*/)?)\.(?P<name>[^/]+)\.partial")
_REQUESTS = 16  # requests
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class _Known:
    """The object that a file here was when it came or went: its version, and a digest of the bytes of small ones."""

    version: str
    size: int
    digest: str


class Mirror:
    """A folder and the objects it stands for (`elsewhere.py` says what each method is for).

    `may_write` is asked before each object is written or removed, and raises where another process has the store now.
    """

    def __init__(self, bucket: Bucket, folder: Path, may_write: Callable[[], None]) -> None:
        """Mirror the `bucket` below `folder`, which this process holds, or shares with one that does."""
        self.root, self.url = folder / "files", bucket.url
        self.new, self.writable = False, True
        self._bucket, self._may_write = bucket, may_write
        self._journal = folder / "objects.jsonl"
        self._writing = threading.Lock()
        self._listed: dict[str, Object] = {}
        self._known: dict[str, _Known] = {}
        self.halves: Sequence[Path] = ()

    def bring(self, progress: Progress, sweep: bool, whole: bool = False) -> None:
        """Make the folder what the bucket is, without chunks of rows that are not here.

        With `sweep`, which takes that no other process writes, what a kill left is removed on both sides. If it is to
        be `whole`, every object is brought, and nothing that is here is taken for one.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if whole:
            for entry in self.root.iterdir():
                if entry.name != ".lock":
                    remove_here(entry)
        self._look("", progress, sweep, whole)
        self.new = not self._listed
        if sweep:
            lines = (_line(key, of) for key, of in sorted(self._known.items()) if key in self._listed)
            write_text(self._journal, "".join(lines))

    def is_empty(self) -> bool:
        """Whether nothing is left there, as far as this process knows."""
        return not self._listed

    def look(self, folder: Path) -> None:
        """Learn what others have stored in `folder` meanwhile, and bring it."""
        key = self._key(folder)
        if key is not None:
            self._look(key, lambda done, total: None, sweep=False)

    def keep(self, written: Path, place: Path) -> None:
        """Store the file `written`, or all files of that folder, as what lies at `place`."""
        key = self._key(place)
        if key is None:
            return
        if not written.is_dir():
            self._put(written, key)
            return
        files = sorted(path for path in written.rglob("*") if path.is_file())
        with self._whole_or_absent(key):
            at_once(lambda file: self._put(file, f"{key}/{file.relative_to(written).as_posix()}"), files)

    def forget(self, place: Path) -> None:
        """Remove the object, or all objects of the folder, at `place`."""
        key = self._key(place)
        if key is None or not self.writable:
            return
        inner = [] if place.is_file() else list(self._list(f"{key}/" if key else ""))
        if inner and key:
            with self._whole_or_absent(key):
                self._delete(inner)
        else:
            self._delete([*inner, *([key] if key in self._listed or place.is_file() else [])])

    def fetch(self, places: Iterable[Path]) -> None:
        """Bring those of the files at `places` here that are not here and exist."""
        at_once(self._get, [key for place in places if not place.exists() and (key := self._key(place))])

    def fetch_again(self, place: Path) -> None:
        """Bring the file at `place` here in place of the one that is here."""
        key = self._key(place)
        if key is not None:
            remove_here(place)
            self._get(key)

    def names(self, folder: Path) -> set[str]:
        """What lies in `folder` there, as far as it was looked at."""
        key = self._key(folder)
        below = f"{key}/" if key else ""
        return {of.removeprefix(below).partition("/")[0] for of in list(self._listed) if of.startswith(below)}

    def _key(self, place: Path) -> str | None:
        """The key of a file or folder; None for those that are this machine's alone."""
        parts = place.relative_to(self.root).parts
        return None if any(part.startswith(".") for part in parts) else "/".join(parts)

    def _look(self, below: str, progress: Progress, sweep: bool, whole: bool = False) -> None:
        known = self._read_journal()  # first: what another process brings while this lists is not taken for gone
        found = self._list(f"{below}/" if below else "", sweep)
        self._listed = {key: of for key, of in self._listed.items() if not _is_in(key, below)} | found
        for path in sorted(self.root.joinpath(below).rglob("*"), reverse=True):
            key = self._key(path)
            if path.is_dir():
                if sweep and not any(path.iterdir()):
                    path.rmdir()
            elif key is None:
                if sweep and path.name != ".lock":
                    remove_here(path)
            elif (sweep or key in known) and (key not in found or (_is_chunk(key) and not self._is_same(key, known))):
                remove_here(path)
        wanted = [key for key in found if whole or not (_is_chunk(key) or self._is_same(key, known, read=sweep))]
        total, done = sum(found[key].size for key in wanted), 0

        def bring(key: str) -> None:
            nonlocal done
            self._get(key)
            with self._writing:
                done += found[key].size
                progress(done, total)

        self._known |= {key: of for key, of in known.items() if key not in self._known}
        at_once(bring, wanted)

    def _list(self, below: str, sweep: bool = False) -> dict[str, Object]:
        """The objects in a folder, without those of folders that are not whole, which `sweep` removes."""
        found = self._bucket.find(below)
        partial, halves = split_halves(found)
        if sweep:
            self._delete(list(halves))
            self._delete(list(partial))
        if not below:
            self.halves = [self.root / folder for folder in partial.values() if not sweep]
        hidden = {*halves, *(key for key in found if any(part.startswith(".") for part in PurePosixPath(key).parts))}
        return {key: of for key, of in found.items() if key not in hidden}

    def _is_same(self, key: str, known: dict[str, _Known], read: bool = False) -> bool:
        """Whether the file here is the object there, as far as its size tells; if `read`, as its bytes do."""
        path, of, there = self.root / key, known.get(key), self._listed.get(key)
        if of is None or there is None or (of.version, of.size) != (there.version, there.size) or not of.version:
            return False
        if not path.is_file() or path.stat().st_size != of.size:
            return False
        return not read or digest_of(path) == of.digest

    def _put(self, file: Path, key: str) -> None:
        self._check_writable()
        digest = "" if _is_chunk(key) else digest_of(file)
        known, there = self._known.get(key), self._listed.get(key)
        if known and there and digest and (digest, there.version) == (known.digest, known.version):
            return  # it is there
        of = self._bucket.put(key, file)
        self._note(key, of, digest)

    def _get(self, key: str) -> None:
        """Bring an object here, unless it is gone."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")
        try:
            of = self._bucket.get_to(key, partial)
            self._note(key, of, "" if _is_chunk(key) else digest_of(partial))
            partial.replace(path)
        except FileNotFoundError:
            return
        finally:
            remove_here(partial)

    def _delete(self, keys: list[str]) -> None:
        if keys:
            self._check_writable()
            self._bucket.delete(keys)
            for key in keys:
                self._listed.pop(key, None)

    def _check_writable(self) -> None:
        if not self.writable:
            raise StoreError(f"{self.url}: expected a store that can be written to, found one that may only be read")
        self._may_write()

    @contextmanager
    def _whole_or_absent(self, key: str) -> Iterator[None]:
        folder, _, name = key.rpartition("/")
        partial = f"{folder}/.{name}.partial" if folder else f".{name}.partial"
        self._check_writable()
        self._bucket.put(partial, b"")
        yield
        self._delete([partial])

    def _note(self, key: str, of: Object, digest: str) -> None:
        known = _Known(of.version, of.size, digest)
        with self._writing:
            self._listed[key], self._known[key] = of, known
            with self._journal.open("a", encoding="utf-8") as lines:
                lines.write(_line(key, known))

    def _read_journal(self) -> dict[str, _Known]:
        known: dict[str, _Known] = {}
        if self._journal.exists():
            for line in self._journal.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    of = json.loads(line)
                    known[str(of["key"])] = _Known(str(of["version"]), int(of["size"]), str(of["digest"]))
                except (ValueError, TypeError, LookupError):
                    continue  # a kill cut it short: the file comes again
        return known


def at_once(do: Callable[[_Value], None], values: Sequence[_Value]) -> None:
    """Do it for each of `values`, several at a time."""
    if len(values) == 1:
        do(values[0])
    elif values:
        with ThreadPoolExecutor(min(_REQUESTS, len(values))) as threads:
            try:
                for done in [threads.submit(do, value) for value in values]:
                    done.result()
            except BaseException:  # the first failure is told at once: the others would each take as long
                threads.shutdown(wait=False, cancel_futures=True)
                raise


def split_halves(found: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Of the keys `found`, those of objects that say that a folder is not whole, with it, and of what lies in those.

    The latter with the keys that they would have in a store on a disk, whose folder has another name until it is whole.
    """
    partial = {key: f"{of['folder']}{of['name']}" for key in found if (of := _PARTIAL.fullmatch(key))}
    halves = {
        key: f"{marker}/{key.removeprefix(f'{folder}/')}"
        for marker, folder in partial.items()
        for key in found
        if key.startswith(f"{folder}/")
    }
    return partial, halves


def _is_chunk(key: str) -> bool:
    return _CHUNK.fullmatch(key) is not None


def _is_in(key: str, folder: str) -> bool:
    return not folder or key == folder or key.startswith(f"{folder}/")


def _line(key: str, of: _Known) -> str:
    return json.dumps({"key": key, "version": of.version, "size": of.size, "digest": of.digest}) + "\n"
