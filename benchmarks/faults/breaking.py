"""Breaks a command, in its own process, at one of the steps by which it makes its work durable.

A step is an fsync, a rename or a removal of a file or folder: between two of them lies every state of the disk that a
crash can leave.
"""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import forked

How = Literal["count", "die", "full"]
_WRITES = ("fsync", "replace", "rename")
_STEPS = (*_WRITES, "unlink", "rmdir")


def broken(folder: Path, arguments: list[str], errors: Path, how: How | None, step: int) -> None:
    """Run `g2is ARGUMENTS` in `folder`, with what it prints in the file `errors`.

    Breaks it after `step` durable steps: `die` is SIGKILL, `full` a disk without room from then on. `count` breaks
    nothing and writes the number of steps beside `errors`.
    """
    heed_signals()
    os.chdir(folder)
    if how is not None:
        _count_steps(how, step, errors)
    forked.command_here(arguments, errors)


def heed_signals() -> None:
    """Have signals as a command in the foreground has them: a shell's background jobs are told to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _count_steps(how: How, step: int, errors: Path) -> None:
    done = 0
    count = os.open(errors.with_suffix(".steps"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if how == "count":
                os.pwrite(count, str(done).encode(), 0)
            if how == "die" and done > step:
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "full" and done > step and name in _WRITES:
                place = arguments[0] if name != "fsync" else None
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)
            return real(*arguments, **options)

        return call

    for name in _STEPS:
        setattr(os, name, counted(name, getattr(os, name)))
