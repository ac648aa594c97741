"""Durable files: whole or absent, whatever happens to the process or the machine."""

import errno
import hashlib
import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from g2is.config.strict import parse_json, read_text_file
from g2is.errors import StoreError, may_not_be_read, pass_on_too_little_memory
from g2is.store.elsewhere import elsewhere, keep

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DIGEST = "digest"
_NEVER_WITHOUT = ("digests.json",)  # no version wrote it without: what has none is another file, vouching for nothing
REMEDY = "Put a whole copy back, or name another folder; `g2is verify` with --repair makes anew what can be made"
_LITTLE = 1 << 20  # bytes left where torch has just used up all room
_ERRNO = re.compile(r"(?:os error |\[Errno |errno: )(\d+)")


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Libraries tell of a full disk or a limit each in its own way: make it one OSError, which names `path`."""
    try:
        yield
    except Exception as error:
        number = _errno(error, path)
        if number in NO_ROOM and not (isinstance(error, OSError) and error.filename is not None):
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _errno(error: Exception, path: Path) -> int | None:
    """The system's number of what went wrong, where `error` tells it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if found := _ERRNO.search(str(error)):  # of safetensors, of pyarrow
        return int(found.group(1))
    if "inline_container" in str(error) or "PytorchStreamWriter" in str(error):  # of torch.save, which tells no more
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        biggest = max((file.stat().st_size for file in path.parent.rglob("*") if file.is_file()), default=0)
        if limit != resource.RLIM_INFINITY and biggest + _LITTLE >= limit:
            return errno.EFBIG
        if shutil.disk_usage(path.parent).free < _LITTLE:
            return errno.ENOSPC
    return None


def write_atomically(path: Path, write: Callable[[Path], None], *, alone: bool = True) -> None:
    """Let `write` fill a temporary file (or folder) beside `path`, make it durable, then rename it into place.

    Files that a library made for its owner alone get the permissions of any other, as the umask says. If `write` fails,
    nothing is left. A store elsewhere has it before it has its name here. The caller holds the
    folder's lock: the temporary name is the same every time, so that a killed process's leftover is overwritten by the
    next. A folder of that name goes just before, for the system renames no folder onto a full one: a kill in between
    leaves none, and what calls this makes it again.

    Where the caller is not `alone`, another process may be writing the same: then each has a temporary name of its own.
    """
    temporary = path.with_name(f".{path.name}.partial" if alone else f".{path.name}.{uuid4().hex}.partial")
    remove_here(temporary)
    try:
        with _naming_no_place(path, temporary), naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            let_others_read(temporary)
            fsync(temporary)
            if path.is_dir():
                remove(path)
            keep(temporary, path)
            temporary.replace(path)
    except BaseException:
        remove_here(temporary)
        raise
    fsync_folder(path.parent)


@contextmanager
def _naming_no_place(path: Path, temporary: Path) -> Iterator[None]:
    """Where no file can be made, as below /proc, some systems say that there is none: say what is so."""
    try:
        yield
    except FileNotFoundError as error:
        if not temporary.exists() and not _can_be_made(temporary):
            raise PermissionError(errno.EPERM, "no file can be made there", str(path)) from error
        raise


def _can_be_made(file: Path) -> bool:
    try:
        file.touch()
    except FileNotFoundError:
        return False
    return True


def let_others_read(path: Path) -> None:
    """Give files that were made for their owner alone, as by way of temporary ones, what the umask leaves to others."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        if not file.stat().st_mode & 0o077:
            file.chmod(0o666 & ~_umask())


def _umask() -> int:
    """The process's own, asked of the system where it tells: else it must be set for a moment, for all threads."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0o022)
        os.umask(mask)
        return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` atomically, keys in the order given, so that equal values are equal bytes.

    A last key, `digest`, is a hash of all others and of the file's name, by which `read_json` tells damage.
    """
    write_text(path, as_json(value, path.name))


def as_json(value: Mapping[str, Any], name: str) -> str:
    """What `write_json` writes to a file of this name."""
    return plain_json(sealed(value, name))


def sealed(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`value` and the digest that `read_json` looks for in a file of this name."""
    return {**value, _DIGEST: _digest_of(value, name)}


def plain_json(value: Mapping[str, Any]) -> str:
    """`value` as JSON without a digest, for files that other programs read."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a line for each of `rows`, atomically; no file where there are none."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in chain([first], rest))

    rest = iter(rows)
    first = next(rest, None)
    if first is None:
        remove(path)
    else:
        write_atomically(path, write)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that g2is wrote, without its digest. Raises StoreError if it is not as it was written.

    One without a digest is taken as it is: an older version wrote it.
    """
    try:
        value = parse_json(read_text_file(path))
    except PermissionError:
        raise may_not_be_read(path) from None
    except (OSError, ValueError) as error:
        pass_on_too_little_memory(error)
        raise StoreError(
            f"{path}: expected a JSON file as g2is writes it, but it cannot be read: {error}. {REMEDY}"
        ) from None
    if not isinstance(value, dict):
        raise StoreError(f"{path}: expected a JSON object, found {type(value).__name__}")
    if not _is_as_sealed(value, path.name):
        raise StoreError(
            f"{path}: expected the file as g2is wrote it, found it changed or damaged (its digest is another). {REMEDY}"
        )
    return value


def is_sealed(path: Path) -> bool:
    """Whether a JSON file is byte for byte as g2is wrote it; of an older one without such a digest, if it can be read.

    An older file has its values alone: it is not known whether a space of it is another.
    """
    try:
        values, text = read_json(path), path.read_text(encoding="utf-8")
    except (StoreError, UnicodeDecodeError):
        return False
    is_older = json.loads(text).get(_DIGEST) != _digest_of(values, path.name)
    return is_older or text == as_json(values, path.name)


def has_digest(path: Path) -> bool:
    """Whether there is a JSON file at `path` that carries a digest of itself, as those of older versions do not."""
    try:
        return _DIGEST in parse_json(read_text_file(path))
    except (OSError, ValueError, TypeError):
        return path.exists()  # damaged: not known, so nothing is let pass for it


def _is_as_sealed(value: dict[str, Any], name: str) -> bool:
    """Whether a value is what its digest, which is taken out of it, was made of; one without may be an older file."""
    if _DIGEST in value:
        return value.pop(_DIGEST) in _digests_of(value, name)
    if name in _NEVER_WITHOUT:
        return False
    last = next(reversed(value), None)  # the digest itself, under a damaged name?
    return last is None or value[last] not in _digests_of({key: of for key, of in value.items() if key != last}, name)


def _digests_of(value: Mapping[str, Any], name: str) -> tuple[str, str]:
    """The digest of a value in a file of this name, and the one of before, which had no name in it."""
    return _digest_of(value, name), _digest_of(value, "")


def _digest_of(value: Mapping[str, Any], name: str) -> str:
    # what JSON makes of it, so that tuples and numbers are those that are read back
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True)
    return hashlib.blake2b(f"{text}{name}".encode(), digest_size=16).hexdigest()


def fsync(path: Path) -> None:
    """Make a file, or every file and folder below a folder, durable."""
    if path.is_dir():
        for child in path.iterdir():
            fsync(child)
        fsync_folder(path)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Make a folder's list of names durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or folder if it is there; of a store elsewhere, there first."""
    if (of := elsewhere(path)) is not None:
        of.forget(path)
    remove_here(path)


def remove_here(path: Path) -> None:
    """Remove a file or folder of this machine if it is there."""
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            remove_here(child)
        path.rmdir()
    elif os.path.lexists(path):  # asked first: a read-only file system refuses to remove even what is not there
        path.unlink(missing_ok=True)


KEPT_OPEN = (errno.ENOTEMPTY, errno.EBUSY)  # what NFS says of a folder with an open file in it, and of that file


def remove_but_open(folder: Path) -> None:
    """Remove what is in a `folder` of this machine, but for files that NFS keeps while they are open."""
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            remove_but_open(child)
            try:
                child.rmdir()
            except OSError as error:
                if error.errno not in KEPT_OPEN:
                    raise
        elif not child.name.startswith(".nfs"):
            child.unlink(missing_ok=True)
