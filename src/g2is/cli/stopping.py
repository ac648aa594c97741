"""Ctrl-C and SIGTERM end a command with one line, at any moment, and say what is kept.

While libraries are imported, which takes seconds and may abort when it is interrupted, a signal ends the process at
once: nothing is begun yet. While work is done it is raised as KeyboardInterrupt, so that what was measured is noted; a
second one ends the process at once, which every folder survives.
"""

import os
import signal
import sys
import time
from _thread import start_new_thread
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING

import typer

from g2is.cli.at_once import SIGNALS, handle, stop_at_once
from g2is.progress.terminal import complain

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SECONDS = 0.01  # until a stop that Python swallowed is asked for again
_swallowing: set[CodeType] = set()  # what Python calls while an object is freed, of which it swallows errors
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
    heard, print_unraisable = len(_received), sys.unraisablehook

    def swallowed(what: "UnraisableHookArgs", /) -> None:
        """Of what is raised while an object is freed Python prints a traceback, and goes on."""
        if (stop := _stop_behind(what.exc_value)) is not None:
            handle(_raise)
            _ask_again(stop.number)
        elif len(_received) == heard:  # else of something that the stop cut through
            print_unraisable(what)

    sys.unraisablehook = swallowed
    _swallowing.add(swallowed.__code__)
    try:
        yield
    except BaseException as stopped:
        # safetensors makes an error of its own of a stop that comes while it opens a tensor, and others may
        if not isinstance(stopped, KeyboardInterrupt) and len(_received) == heard:
            raise
        stop_at_once()  # from here on: a stop that was asked for again may still come
        if keeps is None:
            complain("stopped; nothing was written")
        else:
            complain(f"stopped; what is done is kept in {keeps}: the same command goes on from here")
        number = getattr(stopped, "number", _received[-1] if len(_received) > heard else signal.SIGINT)
        raise typer.Exit(128 + number) from None
    finally:
        if len(_received) == heard:  # else what the stop cut through is still to be freed
            sys.unraisablehook = print_unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_behind(error: BaseException | None) -> _Stopped | None:
    """The stop that `error` is, or that it was raised in place of."""
    while error is not None and not isinstance(error, _Stopped):
        error = error.__cause__ or error.__context__
    return error


def _ask_again(number: int) -> None:
    """Soon, by a thread that nothing waits for: what the main thread waits in, a stop may come into."""

    def ask() -> None:
        time.sleep(_SECONDS)
        os.kill(os.getpid(), number)

    start_new_thread(ask, ())


def _raise(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code in _swallowing:  # nobody would hear of it there
            _ask_again(number)
            return
        frame = frame.f_back
    stop_at_once()
    _received.append(number)
    raise _Stopped(number)
