"""digests.json of a finished folder: what each of its files held when it was written, so that damage shows.

It is written after the files it names, and read before any of them is taken for what was made.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from g2is.errors import StoreError
from g2is.store.files import read_json, write_json

DIGESTS = "digests.json"


def record_digests(folder: Path, names: Iterable[str]) -> None:
    """Note what the files of `folder` by these names hold now; one that is not there is noted no longer."""
    noted: dict[str, str] = {}
    if (folder / DIGESTS).exists():
        with suppress(StoreError):  # damaged notes are written anew
            noted = read_json(folder / DIGESTS)
    for name in names:
        noted.pop(name, None)
        if (folder / name).is_file():
            noted[name] = digest_of(folder / name)
    write_json(folder / DIGESTS, dict(sorted(noted.items())))


def damaged_files(folder: Path, names: Iterable[str] | None = None) -> list[str]:
    """Which files of `folder`, of all or of those by these names, are gone or hold other bytes than were noted.

    A name that was never noted is not damaged: an older version wrote it. Damaged notes are named themselves.
    """
    if not (folder / DIGESTS).exists():
        return []
    try:
        noted = read_json(folder / DIGESTS)
    except StoreError:
        return [DIGESTS]
    wanted = noted if names is None else [name for name in names if name in noted]
    return [name for name in wanted if not (folder / name).is_file() or digest_of(folder / name) != noted[name]]


def noted_digest(folder: Path, name: str) -> str | None:
    """What was noted of a file of `folder`; None where nothing was, or the notes are damaged."""
    with suppress(StoreError):
        return str(read_json(folder / DIGESTS)[name]) if name in read_json(folder / DIGESTS) else None
    return None


def digest_of_text(text: str) -> str:
    """What `digest_of` gives for a file of this text, in UTF-8."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest_of(path: Path) -> str:
    """A hash of a file's bytes, 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
