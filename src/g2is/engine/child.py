"""What a worker process does: open a worker, do the jobs that it is sent, and tell of them.

It reads a pickled Open, and then pickled jobs, from the connection whose handle it is started with; it sends tuples:

    ("ready",)                          it can be sent jobs
    ("tokens", number, n)               n more tokens of a job are done
    ("stored", number)                  what a job makes is stored
    ("failed", number, error, trace)    a job, or None for the opening, raised `error`
    ("notice", text)                    what the user should know

Where nobody is at the other end any more, the process ends at once. What it was making does not count then.
"""

import os
import pickle
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from g2is.engine.job import Job
from g2is.engine.worker import Worker

_SECONDS_BETWEEN_TOLD = 0.2


def main(handle: int, at_once: int) -> None:
    """Serve the process that holds the other end of the connection `handle`, until it goes.

    So many jobs are done `at_once`, in threads.
    """
    connection = Connection(handle)
    sending = Lock()

    def tell(*message: Any) -> None:
        try:
            with sending:
                connection.send(message)
        except OSError:
            os._exit(1)

    jobs: SimpleQueue[Job] = SimpleQueue()
    try:
        worker: Worker[Any] = pickle.loads(connection.recv_bytes())(lambda text: tell("notice", text))
    except EOFError:
        return
    except Exception as error:
        tell("failed", None, *_told_of(error))
        connection.recv_bytes()  # until the end: what was told is read first
        return
    tell("ready")
    for _ in range(at_once):
        Thread(target=_make_all, args=(worker, jobs, tell), daemon=True).start()
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)


def _make_all(worker: Worker[Any], jobs: "SimpleQueue[Job]", tell: Callable[..., None]) -> None:
    while True:
        job = jobs.get()
        try:
            with _Tokens(job, tell) as tokens:
                worker.make(job, tokens.add)
        except Exception as error:
            tell("failed", job.number, *_told_of(error))
        else:
            tell("stored", job.number)


class _Tokens:
    """Tokens done of a job, told now and then."""

    def __init__(self, job: Job, tell: Callable[..., None]) -> None:
        self._number, self._tell = job.number, tell
        self._untold, self._last = 0, time.monotonic()

    def __enter__(self) -> "_Tokens":
        return self

    def __exit__(self, *error: object) -> None:
        if self._untold:
            self._tell("tokens", self._number, self._untold)

    def add(self, num_tokens: int) -> None:
        self._untold += num_tokens
        if time.monotonic() - self._last > _SECONDS_BETWEEN_TOLD:
            self._tell("tokens", self._number, self._untold)
            self._untold, self._last = 0, time.monotonic()


def _told_of(error: Exception) -> tuple[Exception, str]:
    """An error as it can be sent, and its traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a library, with parts that only its own process has
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return error.with_traceback(None), text
