"""Ctrl-C and SIGTERM end a command with one line, at any moment, and say what is kept.

While libraries are imported, which takes seconds and may abort when it is interrupted, a signal ends the process at
once: nothing is begun yet. While work is done it is raised as KeyboardInterrupt, so that what was measured is noted; a
second one ends the process at once, which every folder survives.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from g2is.cli.at_once import SIGNALS, handle, stop_at_once
from g2is.progress.terminal import complain

_received: list[int] = []  # by this process: Ray, waiting, raises a KeyboardInterrupt of its own in place of ours


class _Stopped(KeyboardInterrupt):
    """A stop that was asked for by `number`."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def stoppable(keeps: Path | str | None) -> Iterator[None]:
    """Do work that a signal may stop; `keeps` is where what is done stays, None if nothing is written."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handle(_raise)
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


def _raise(number: int, _: FrameType | None) -> None:
    stop_at_once()
    _received.append(number)
    raise _Stopped(number)
