"""What a running stage tells whoever watches: the command line draws it, Python callers may ignore it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Progress = Callable[[int, int], None]  # (done, total), in the stage's unit


class Reporter(Protocol):
    """Receives the course of a run."""

    def stage(self, title: str, unit: str) -> AbstractContextManager[Progress]:
        """Open a stage; its progress is reported through what the context gives."""

    def notice(self, text: str) -> None:
        """Say something the user should know and need not act on."""


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
    """A reporter that says nothing."""

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        """Open a stage that nobody watches."""
        yield lambda done, total: None

    def notice(self, text: str) -> None:
        """Drop the notice."""
