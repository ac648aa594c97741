"""A folder that a command writes for its user to take away (`--to`): new, and whole or not there."""

from collections.abc import Callable
from pathlib import Path

from g2is.errors import FolderInUseError, InputError, StoreError
from g2is.store.files import fsync, fsync_folder, let_others_read, naming_full_disk, remove
from g2is.store.lock import locked, remove_held


def check_is_free(to: Path) -> None:
    """Raise InputError unless `to` is a folder that is new or empty, and not the one this is called from."""
    there = next(path for path in (to, *to.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"--to: expected a new or empty folder, found the file {there}. Name another place")
    if there == to == Path.cwd():  # it is put in place as a whole, and whoever stands in the old one sees nothing
        raise InputError(f"--to: expected another folder than the one this is called from, found {to}. Name a new one")
    if there == to and any(to.iterdir()):
        raise InputError(
            f"--to: expected a new or empty folder, found {to} in use. Name another with --to, or remove it to write it"
            " anew"
        )


def write_new_folder(to: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a folder and fill it, and put it in the place `to`; if that fails, nothing is left.

    It is made in a hidden folder beside `to` that this process holds. What a killed one left there is removed by the
    next. Raises InputError if another process writes to `to`, or just did; StoreError if no folder can be made there.
    """
    beside = to.with_name(f".{to.name}.partial")
    made = beside / to.name
    if beside.is_symlink():  # a stranger's, which would lead elsewhere
        remove(beside)
    try:
        with locked(beside, "new"):
            try:
                check_is_free(to)  # another process may have been faster
                remove(made)
                with naming_full_disk(to):
                    write(made)
                    let_others_read(made)
                    fsync(made)
                    made.replace(to)
            finally:
                remove_held(beside)
            fsync_folder(to.parent)
    except FolderInUseError:
        raise InputError(
            f"--to: expected a folder that nobody else writes, found another g2is process at work on {to}. Name"
            " another, or wait for its end"
        ) from None
    except StoreError as error:
        error.args = (str(error).replace(str(beside), str(to)),)
        raise
