"""digests.json of a finished folder: what each of its files held when it was written, so that damage shows.

It is written after the files it names, and read before any of them is taken for what was made.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from functools import partial
from pathlib import Path

from g2is.config.commands import SETTINGS
from g2is.errors import StoreError, may_not_be_read
from g2is.store.files import REMEDY, read_json, write_json
from g2is.store.given import inside

DIGESTS = "digests.json"
CARRIED = "in the file"  # noted in place of a digest
_TEXT_OF = "text of "
_hash = partial(hashlib.blake2b, digest_size=16)
_A_DIGEST = re.compile("[0-9a-f]{32}")


def record_digests(folder: Path, names: Iterable[str]) -> None:
    """Note what the files of `folder` by these names hold now; one that is not there is noted no longer."""
    noted = _notes_without(folder, names)
    noted |= {name: digest_of(folder / name) for name in names if (folder / name).is_file()}
    write_json(folder / DIGESTS, dict(sorted(noted.items())))


def record_text(folder: Path, name: str, text: str) -> None:
    """Note `text` as what the file `name` of `folder` is to hold: of a small one that nothing else could tell again.

    Done before the file is written, which a kill in between leaves to who finds the note.
    """
    digest = _hash(text.encode()).hexdigest()
    noted = {**_notes_without(folder, [name]), name: digest, _TEXT_OF + name: text}
    write_json(folder / DIGESTS, dict(sorted(noted.items())))


def _notes_without(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """What is noted of the files of `folder` but those; damaged notes are begun anew."""
    gone = {kind + name for name in names for kind in ("", _TEXT_OF)}
    with suppress(StoreError):
        return {name: of for name, of in _notes(folder).items() if name not in gone}
    return {}


def record_missing(folder: Path, names: Iterable[str]) -> None:
    """Note those files of `folder` by these names that are there and were never noted.

    A kill may have come between a file's name, which it gets when it is whole, and its note.
    """
    with suppress(StoreError):  # damaged notes are told where they matter
        noted = _notes(folder)
        found = {name: digest_of(folder / name) for name in names if name not in noted and (folder / name).is_file()}
        if found:
            write_json(folder / DIGESTS, dict(sorted({**noted, **found}.items())))


def record_presence(folder: Path, name: str) -> None:
    """Note that `folder` has the JSON file `name`, which changes now and then and carries a digest of its own."""
    noted = _notes(folder)
    if noted.get(name) != CARRIED:
        write_json(folder / DIGESTS, dict(sorted({**noted, name: CARRIED}.items())))


def noted_digests(folder: Path) -> dict[str, str]:
    """What was noted of the files of `folder`, by name; none where nothing was.

    Raises StoreError for notes that are damaged, or are another JSON file.
    """
    return {name: of for name, of in _notes(folder).items() if not name.startswith(_TEXT_OF)}


def _notes(folder: Path) -> dict[str, str]:
    """The digests.json of `folder`, empty where there is none; raises as `noted_digests`."""
    notes = read_json(folder / DIGESTS) if (folder / DIGESTS).exists() else {}
    for name, of in notes.items():
        if not (isinstance(of, str) and (of == CARRIED or name.startswith(_TEXT_OF) or _A_DIGEST.fullmatch(of))):
            raise StoreError(
                f"{folder / DIGESTS}: expected what each file of its folder held, found {name!r} with"
                f" {str(of)[:80]!r}: it is another file. {REMEDY}"
            )
    return notes


def changed_files(folder: Path, noted: Mapping[str, str]) -> set[str]:
    """Which of the `noted` files of `folder` are gone or hold other bytes. Raises StoreError for one not in it."""
    paths = {name: noted_path(folder, name) for name in noted}
    return {name for name, path in paths.items() if not path.is_file() or not _is_as_noted(path, noted[name])}


def are_of_another(folder: Path, noted: Mapping[str, str], changed: Set[str] | None = None) -> bool:
    """Whether `noted`, in the notes of `folder`, is of another folder: most files here are others, its settings too.

    Notes and settings vouch for each other alone; which of the two was changed only the rest can tell. `changed` are
    the `changed_files`, found here if they are not given.
    """
    told = {name for name, of in noted.items() if of != CARRIED}
    otherwise = told & (changed_files(folder, noted) if changed is None else changed)
    has_settings = (folder / SETTINGS).is_file()
    if 2 * len(otherwise) <= len(told) or (has_settings and SETTINGS in told - otherwise):
        return False
    return len(told) > 1 or (has_settings and SETTINGS not in told)


def noted_text(folder: Path, name: str) -> str | None:
    """The text that was noted of a file; None where none was, or the notes are damaged or of another folder."""
    with suppress(StoreError):
        if not are_of_another(folder, noted_digests(folder)):
            return _notes(folder).get(_TEXT_OF + name)
    return None


def damaged_files(folder: Path, names: Iterable[str] | None = None) -> list[str]:
    """Which files of `folder`, of all or of those by these names, are gone or hold other bytes than were noted.

    A name that was never noted is not damaged: an older version wrote it. Damaged notes are named themselves. Raises
    StoreError for notes of files that are not in the folder.
    """
    try:
        noted = noted_digests(folder)
    except StoreError:
        return [DIGESTS]
    wanted = noted if names is None else [name for name in names if name in noted]
    changed = changed_files(folder, {name: noted[name] for name in wanted})
    return [name for name in wanted if name in changed]


def unnoted_files(folder: Path, names: Iterable[str]) -> list[str]:
    """Which of these files are in `folder` and were never noted: nothing vouches for them.

    A kill may have come before the note; or the notes were lost, and what was written since began them anew. Raises
    as `noted_digests`.
    """
    noted = noted_digests(folder)
    return [name for name in names if name not in noted and (folder / name).is_file()]


def noted_path(folder: Path, name: str) -> Path:
    """Where the file lies that is noted as `name`. Raises StoreError if that is not in `folder`."""
    return inside(folder, name, f"{folder / DIGESTS}: a key")


def _is_as_noted(path: Path, noted: str) -> bool:
    """Whether the file at `path` is what was noted of it; of one that carries its digest its reader looks."""
    return noted == CARRIED or digest_of(path) == noted


def digest_of(path: Path) -> str:
    """A hash of a file's bytes, 32 hex digits. Raises StoreError if it may not be read."""
    try:
        file = path.open("rb")
    except PermissionError:
        raise may_not_be_read(path) from None
    with file:
        return hashlib.file_digest(file, _hash).hexdigest()
