"""The Trainer's checkpoints: which of them a stopped training may go on from.

The Trainer writes them in place. One counts only with the file `complete` in it, which is written last and holds the
digest of every other file, that of the rows that are trained on, and the number of processes that train. The one before
is kept until the next is complete, and longer: where the last is damaged, a training goes on from that one.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from g2is.errors import StoreError, may_not_be_read
from g2is.model.batches import Row
from g2is.store.digests import digest_of
from g2is.store.elsewhere import keep
from g2is.store.files import fsync, let_others_read, read_json, remove, write_json

COMPLETE = "complete"
NOT_COMPLETE = "not complete"
_PREFIX = "checkpoint-"
_KEPT = 2  # the one before the last serves where that is damaged
_ROWS, _PROCESSES = "rows", "processes"  # no file of a checkpoint is called so


def digest_of_rows(rows: Sequence[Row]) -> str:
    """A hash of the rows that a training is of, in their order."""
    total = hashlib.blake2b(digest_size=16)
    for ids, learned in rows:
        total.update(len(ids).to_bytes(8) + np.asarray(ids, np.int64).tobytes() + np.asarray(learned, bool).tobytes())
    return total.hexdigest()


def seal(checkpoint: Path, rows_digest: str, num_processes: int = 1) -> None:
    """Make the checkpoint durable, and mark it as complete with the digests of its files and of its training's rows.

    Of those in its folder it and the one before are kept.
    """
    let_others_read(checkpoint)
    fsync(checkpoint)
    keep(checkpoint, checkpoint)
    of_training = {_ROWS: rows_digest, _PROCESSES: num_processes}
    write_json(checkpoint / COMPLETE, {**of_training, **_digests(checkpoint)})
    for older in _in_order(checkpoint.parent)[:-_KEPT]:
        remove(older / COMPLETE)  # first: one that is half removed is not to be taken for whole
        remove(older)


def _in_order(folder: Path) -> list[Path]:
    """The checkpoints in `folder` by their steps: by their times the Trainer itself goes, and clocks differ."""
    return sorted(folder.glob(f"{_PREFIX}*"), key=lambda path: int(path.name.removeprefix(_PREFIX)))


def processes_of(checkpoint: Path) -> int:
    """How many processes wrote a sound checkpoint together; older ones do not say it, and are of one."""
    return int(read_json(checkpoint / COMPLETE).get(_PROCESSES, 1))


def keep_sound(folder: Path, rows_digest: str, notice: Callable[[str], None]) -> Path | None:
    """Remove every checkpoint in `folder` that is not complete or not as it was written; return the last one left.

    One of a training on other rows than those of `rows_digest` goes too. `notice` is told of each that is damaged.
    """
    sound = None
    for checkpoint in _in_order(folder):
        problem = problem_of(checkpoint, rows_digest)
        if problem is None:
            sound = checkpoint
            continue
        if (checkpoint / COMPLETE).exists():
            notice(f"{checkpoint}: {problem}; going on from the one before it" + ("" if sound else ": from the start"))
        remove(checkpoint / COMPLETE)
        remove(checkpoint)
    return sound


def problem_of(checkpoint: Path, rows_digest: str | None = None) -> str | None:
    """What is wrong with a checkpoint, of a training on the rows of `rows_digest` if these are known; or None.

    Raises StoreError if some of it may not be read.
    """
    if not (checkpoint / COMPLETE).exists():
        return NOT_COMPLETE
    if closed := [file for file in checkpoint.rglob("*") if not os.access(file, os.R_OK)]:
        raise may_not_be_read(closed[0])  # it may well be whole, and is not to be removed
    changed = [COMPLETE]
    with suppress(StoreError, OSError):
        written, found = read_json(checkpoint / COMPLETE), _digests(checkpoint)
        rows = written.pop(_ROWS, None)
        num_processes = written.pop(_PROCESSES, 1)
        if written == found and isinstance(num_processes, int):
            same = rows is None or rows_digest in (None, rows)  # older ones do not say it
            return None if same else "expected a checkpoint of a training on these rows, found one on others"
        changed = sorted(name for name in written.keys() | found.keys() if written.get(name) != found.get(name))
    return f"expected the checkpoint as it was written, found {', '.join(changed[:3])} damaged"


def _digests(checkpoint: Path) -> dict[str, str]:
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)
    return {path.relative_to(checkpoint).as_posix(): digest_of(path) for path in files}
