"""Folders of this machine that stand for a store elsewhere: what is kept in one is kept there first.

A store in object storage has a folder here that mirrors it (`mirror.py`), so that all that works on a store works on
files. What makes a file durable, or removes it, asks here whether it is such a folder's; for a store on a disk that is
one look at an empty list.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from g2is.errors import StoreError

_Read = TypeVar("_Read")


class Elsewhere(Protocol):
    """What a folder `root` stands for; `new` if there was nothing, not `writable` if it may only be read.

    `halves` are folders that a stop left there neither whole nor absent, and that are not here.
    """

    root: Path
    url: str
    new: bool
    writable: bool
    halves: Sequence[Path]

    def keep(self, written: Path, place: Path) -> None:
        """Store the file `written`, or all files of that folder, as what lies at `place`."""

    def forget(self, place: Path) -> None:
        """Remove the file, or all files of the folder, at `place`."""

    def look(self, folder: Path) -> None:
        """Learn what others have stored in `folder` meanwhile."""

    def fetch(self, places: Iterable[Path]) -> None:
        """Bring those of the files at `places` here that are not here and exist."""

    def fetch_again(self, place: Path) -> None:
        """Bring the file at `place` here in place of the one that is here."""

    def names(self, folder: Path) -> set[str]:
        """What lies in `folder` there, as far as it was looked at."""


_reached: list[Elsewhere] = []


def elsewhere(path: Path) -> Elsewhere | None:
    """What the folder that `path` lies in stands for; None if it is a folder of its own."""
    return next((of for of in _reached if path.is_relative_to(of.root)), None) if _reached else None


def add(reached: Elsewhere) -> None:
    """From now on, files below the root of `reached` are kept there."""
    _reached.append(reached)


def remove(reached: Elsewhere) -> None:
    """From now on they are not."""
    _reached.remove(reached)


def look(folder: Path) -> None:
    """Learn what others have stored in `folder` meanwhile, where it lies elsewhere."""
    if (of := elsewhere(folder)) is not None:
        of.look(folder)


def keep(written: Path, place: Path) -> None:
    """Store `written` as what lies at `place`, where that stands for something elsewhere."""
    if (of := elsewhere(place)) is not None:
        of.keep(written, place)


def bring(places: Iterable[Path]) -> None:
    """Bring files that lie elsewhere here, several at once; those that are here already stay."""
    places = list(places) if _reached else []
    if places and (of := elsewhere(places[0])) is not None:
        of.fetch(places)


def read_whole(place: Path, read: Callable[[], _Read]) -> _Read:
    """What `read` makes of the file at `place`; where that is a damaged copy of one elsewhere, of another copy."""
    if (of := elsewhere(place)) is None:
        return read()
    of.fetch([place])
    try:
        return read()
    except StoreError:
        of.fetch_again(place)
        return read()


def place_of(folder: Path) -> Path | str:
    """Where another process finds the store in `folder`: that folder, or its URL."""
    of = elsewhere(folder)
    return folder if of is None else of.url


def name_of(path: Path) -> str:
    """What people and other machines know the file or folder `path` by."""
    of = elsewhere(path)
    if of is None:
        return str(path)
    below = path.relative_to(of.root).as_posix()
    return of.url if below == "." else f"{of.url}/{below}"
