"""A signal ends the process at once, with one line: from the first moment on, so this imports next to nothing."""

import os
import signal
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


def stop_at_once() -> None:
    """From now on a signal ends the process with one line."""
    handle(_exit)


def handle(action: Any) -> None:
    """Let `action(number, frame)` be called when a stop is asked for, unless such are ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell's background jobs are told
            signal.signal(number, action)


def _exit(number: int, _: FrameType | None) -> None:
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR)
    os.write(2, b"stopped; what was done before is kept: the same command goes on from here\n")
    os._exit(128 + number)
