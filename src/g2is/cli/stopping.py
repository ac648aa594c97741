"""Ctrl-C and SIGTERM end a command with one line, at any moment, and say what is kept.

While libraries are imported, which takes seconds and may abort when it is interrupted, a signal ends the process at
once: nothing is begun yet. While work is done it is raised as KeyboardInterrupt, so that what was measured is noted; a
second one ends the process at once, which every folder survives.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from g2is.cli.terminal import complain

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []  # by this process: Ray, waiting, raises a KeyboardInterrupt of its own in place of ours
_SHOW_CURSOR = "\x1b[?25h"


class _Stopped(KeyboardInterrupt):
    """A stop that was asked for by `number`."""

    def __init__(self, number: int) -> None:
        self.number = number


def stop_at_once() -> None:
    """From now on a signal ends the process with one line."""
    _handle(_exit)


@contextmanager
def stoppable(keeps: Path | str | None) -> Iterator[None]:
    """Do work that a signal may stop; `keeps` is where what is done stays, None if nothing is written."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _handle(_raise)
    heard = len(_received)
    try:
        yield
    except BaseException as stopped:
        # safetensors makes an error of its own of a stop that comes while it opens a tensor, and others may
        if not isinstance(stopped, KeyboardInterrupt) and len(_received) == heard:
            raise
        if keeps is None:
            complain("stopped; nothing was written")
        else:
            complain(f"stopped; what is done is kept in {keeps}: the same command goes on from here")
        number = getattr(stopped, "number", _received[-1] if _received else signal.SIGINT)
        raise typer.Exit(128 + number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(action: Any) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell's background jobs are told
            signal.signal(number, action)


def _exit(number: int, _: FrameType | None) -> None:
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR.encode())
    os.write(2, b"stopped; what was done before is kept: the same command goes on from here\n")
    os._exit(128 + number)


def _raise(number: int, _: FrameType | None) -> None:
    stop_at_once()
    _received.append(number)
    raise _Stopped(number)
