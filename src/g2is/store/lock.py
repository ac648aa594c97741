"""One g2is process at a time in a folder; who has it, the lock file says.

    .lock    {"command": "g2is select", "pid": 4711, "host": "gpu-3", "since": "2026-11-28 08:04:22"}

The lock is the system's and ends with the process, however that ends; the words in the file are for people. A run's
folder is locked before its store, a comparison's before its runs: so no two processes wait for each other.
"""

import errno
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from g2is.errors import FolderInUseError, G2isError, StoreError, TooLittleMemoryError, UnreachableError, WorkerError
from g2is.progress import Reporter
from g2is.store.files import KEPT_OPEN, naming_full_disk, remove, remove_but_open

_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_SECONDS_BETWEEN_TRIES = 0.5
_MOST_WORDS = 4096  # bytes of a lock file that are read
_waits: ContextVar[Reporter | None] = ContextVar("waits", default=None)


@contextmanager
def waiting(reporter: Reporter | None) -> Iterator[None]:
    """Within this, a folder in use is waited for, and `reporter` is told whom for; None refuses it, as without this."""
    before = _waits.set(reporter)
    try:
        yield
    finally:
        _waits.reset(before)


def waits() -> bool:
    """Whether a folder in use is waited for."""
    return _waits.get() is not None


@contextmanager
def locked(folder: Path, what: str) -> Iterator[bool]:
    """Make `folder` and hold it for this process; yields whether it is new. The lock dies with the process.

    Raises StoreError if another process holds it and it is not to be waited for, the folder cannot be written to, or
    its file system has no locks.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise StoreError(
            f"{folder}: expected a {what} folder whose path is UTF-8, as Parquet and Zarr need it, found other bytes."
            " Name another"
        ) from None
    try:
        found = _try_lock(folder)
        if found is None:
            reporter = _waits.get()
            if reporter is None:
                raise FolderInUseError(
                    f"{folder}: this {what} is in use by another g2is process{holder_of(folder)}. Wait for it to end"
                    " (--wait does), or name another folder"
                )
            found = _wait(folder, what, reporter)
    except FileExistsError:
        raise StoreError(f"{folder}: expected a {what} folder, found a file of that name; name another") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # no permission would mend it
            raise
        raise StoreError(
            f"{folder}: expected a {what} folder that can be written to, found: {error.strerror or error}. Name"
            " another, or make it writable"
        ) from None
    handle, new = found
    try:
        with naming_full_disk(folder):
            yield new
    finally:
        with suppress(OSError):
            os.ftruncate(handle, 0)
            fcntl.flock(handle, fcntl.LOCK_UN)  # processes forked from this one have the handle, too
        os.close(handle)
        with suppress(OSError):
            if not (folder / _LOCK).exists():  # removed while it was held: now an empty folder can go (`remove_held`)
                folder.rmdir()


@contextmanager
def shared(folder: Path) -> Iterator[bool]:
    """Hold `folder` together with others that hold it so, and against whoever wants it for one process alone.

    Yields whether it is held: not where there is no such folder, or one process has it alone. Whoever holds it so
    writes only what a plan gave to it.
    """
    try:
        handle = _open_lock(folder)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            held = _is_lock_of(folder, handle)
        except BlockingIOError:
            held = False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise _without_locks(folder, error) from None
        if held:
            _say_who(handle)  # the last one that came
        with naming_full_disk(folder):
            yield held
    finally:
        os.close(handle)


def remove_held(folder: Path) -> None:
    """Remove a folder that this process holds.

    NFS keeps a file that is open under another name, so there it, and a store in it that is held, too, are emptied, and
    go when the lock is given back.
    """
    try:
        remove(folder)
    except OSError as error:
        if error.errno not in KEPT_OPEN:
            raise
        remove_but_open(folder)


@contextmanager
def removed_on_error(folder: Path, new: bool) -> Iterator[None]:
    """Leave nothing of a new folder behind if what it was made for turns out to be unusable.

    What too little memory, a lost process or a lost connection stopped is not: it goes on.
    """
    try:
        yield
    except G2isError as error:
        if new and not isinstance(error, TooLittleMemoryError | WorkerError | UnreachableError):
            remove_held(folder)
        raise


def _wait(folder: Path, what: str, reporter: Reporter) -> tuple[int, bool]:
    said = None
    with reporter.stage(f"wait for {what}", ""):
        while (found := _try_lock(folder)) is None:
            holder = holder_of(folder)
            if holder != said and (holder or said is None):
                reporter.notice(f"{folder}: this {what} is in use by another g2is process{holder}; waiting for its end")
                said = holder
            time.sleep(_SECONDS_BETWEEN_TRIES)
    return found


def _try_lock(folder: Path) -> tuple[int, bool] | None:
    """The lock's handle, and whether the folder is new; None if another process holds it."""
    while True:
        try:
            folder.mkdir(parents=True)
            made = True
        except FileExistsError:
            if not folder.is_dir():
                raise
            made = False
        try:
            handle = _open_lock(folder)
        except FileNotFoundError:  # who had the folder removed it at this moment
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_lock_of(folder, handle):
                _say_who(handle)
                # another may have been faster in a folder that this process made
                return handle, made and [entry.name for entry in folder.iterdir()] == [_LOCK]
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            if error.errno not in _NO_LOCKS:
                raise
            raise _without_locks(folder, error) from None
        os.close(handle)


def _open_lock(folder: Path) -> int:
    """The lock file, made if there is none. A link is not followed: words are written into the file."""
    try:
        return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)  # less the umask
    except OSError as error:
        if error.errno == errno.ELOOP and (folder / _LOCK).is_symlink():
            raise StoreError(
                f"{folder / _LOCK}: expected the lock file of its folder, found a link to another place; remove it"
            ) from None
        raise


def _without_locks(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{folder}: expected a file system that can lock files, so that no two processes write here at once, found:"
        f" {error.strerror}. Name a folder on another, such as a local disk, or have it mounted with locks"
    )


def _is_lock_of(folder: Path, handle: int) -> bool:
    """Whether the folder is still the one whose lock was taken, and not removed, or made anew, meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), (folder / _LOCK).stat())
    except FileNotFoundError:
        return False


def _say_who(handle: int) -> None:
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(this_process()) + "\n").encode(), 0)


def holder_of(folder: Path) -> str:
    """Who holds a folder, in brackets; nothing where it is not known, or the file has the words of one that died."""
    try:
        with (folder / _LOCK).open("rb") as file:
            holder = Holder.read(file.read(_MOST_WORDS))
    except OSError:
        return ""
    return "" if holder is None or (holder.host == socket.gethostname() and not _lives(holder.pid)) else f" ({holder})"


@dataclass(frozen=True)
class Holder:
    """Who says in a lock to hold it. `machine` is the running system and its table of processes, if it is said."""

    command: str
    pid: int
    host: str
    since: str
    machine: str = ""

    @staticmethod
    def read(content: bytes) -> "Holder | None":
        """Who a lock's `content` names; None if nobody, or it is not as `this_process` says it."""
        try:
            who = json.loads(content)
            machine = str(who.get("machine", ""))
            return Holder(str(who["command"]), int(who["pid"]), str(who["host"]), str(who["since"]), machine)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
            return None

    def __str__(self) -> str:
        return f"{self.command}, process {self.pid} on {self.host}, since {self.since}"

    def is_dead(self) -> bool:
        """Whether this machine, which would know the process, has none of that number."""
        return bool(self.machine) and self.machine == this_machine() and not _lives(self.pid)


def this_process() -> dict[str, str | int]:
    """What a lock says of this process."""
    program = Path(sys.argv[0]).name
    command = " ".join(["g2is", *sys.argv[1:2]]) if program in ("g2is", "__main__.py") else program or "python"
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"command": command, "pid": os.getpid(), "host": socket.gethostname(), "since": since}


def this_machine() -> str:
    """What tells this running system and its table of processes from any other; nothing where that is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return (
            f"{boot} {Path('/proc/self/ns/pid').readlink()}"  # containers of one host number processes each for itself
        )
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:  # another user's
        return True
    except (OSError, OverflowError):
        return False
    return True


def words(folder: Path) -> str:
    """What the lock file of `folder` says: who holds it, or ""; two holders never say the same."""
    try:
        return (folder / _LOCK).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
