"""What a running stage tells whoever watches: drawn on a terminal or in a notebook, else left to Python's logging."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from g2is.progress.terminal import is_watched, visible

Progress = Callable[[int, int], None]  # (done, total), in the stage's unit
LOGGER = logging.getLogger("g2is")


class Reporter(Protocol):
    """Receives the course of a run."""

    def stage(self, title: str, unit: str) -> AbstractContextManager[Progress]:
        """Open a stage; its progress is reported through what the context gives."""

    def notice(self, text: str) -> None:
        """Say something the user should know and need not act on."""


def default_reporter() -> Reporter:
    """Who is told of the course of a Python call that names nobody: a notebook's cell, a terminal, else the log."""
    if in_notebook():
        from g2is.progress.drawn import NotebookReporter

        return NotebookReporter()
    if is_watched():
        from g2is.progress.drawn import TerminalReporter

        return TerminalReporter()
    return Silent()


def in_notebook() -> bool:
    """Whether this is a cell of a notebook: Jupyter, Colab, VS Code and others run them in ipykernel."""
    return "ipykernel" in sys.modules


def counter(total: int, progress: Progress) -> Callable[[int], None]:
    """What is told of parts done, from any thread, and reports their sum."""
    done, lock = 0, threading.Lock()

    def add(part: int) -> None:
        nonlocal done
        with lock:
            done += part
            progress(done, total)

    return add


class Silent:
    """A reporter that draws nothing: notices and stages go to the log `g2is`, as information and for debugging."""

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        """Open a stage that nobody watches."""
        begin = time.monotonic()
        LOGGER.debug("%s begins", visible(title))
        yield lambda done, total: None
        LOGGER.debug("%s done in %.1f s", visible(title), time.monotonic() - begin)

    def notice(self, text: str) -> None:
        """Log the notice."""
        LOGGER.info("%s", visible(text))
