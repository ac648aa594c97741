"""What runs on a node of a cluster: a worker, and what is checked before it may write anything."""

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from g2is.engine.job import Job
from g2is.engine.worker import Open, Worker
from g2is.errors import ConfigError, G2isError, StoreError
from g2is.store.reach import words_of

Told = tuple[int, int, list[str]]  # a job's number, the tokens of it that are done, notices not told before

_COMPUTE = ("torch", "transformers", "peft", "numpy")  # another version may round otherwise
_SECONDS_BETWEEN_CHECKS = 1.0


def versions() -> dict[str, str]:
    """The versions here of g2is and of what computes."""
    return {name: _version(name) for name in ("g2is", *_COMPUTE)}


class Actor:
    """One worker, in a process that a cluster started."""

    def __init__(self, opens: bytes, place: Path | str, held: str, expected: Mapping[str, str]) -> None:
        """To open with `opens`, a pickled `Open`, once this node is found to be as the command's own is.

        `expected` are the command's own `versions`, and `held` what the lock of its `place` says: its store, a folder
        or URL, or a comparison's folder.
        """
        self._opens, self._place, self._held, self._expected = opens, place, held, expected
        self._worker: Worker[Any] | None = None
        self._number, self._tokens, self._checked = -1, 0, 0.0
        self._notices: list[str] = []
        self._telling = threading.Lock()

    def where(self, node_id: Callable[[], str]) -> tuple[str, str, int]:
        """The id that the cluster has for this node, its name and the process."""
        return node_id(), socket.gethostname(), os.getpid()

    def open(self) -> Told:
        """Open the worker, if this node is as the command's own is.

        Raises ConfigError where g2is is of another version here, StoreError where the folder is not the one that the
        command holds, and what opening raises.
        """
        found, node = versions(), socket.gethostname()
        if found["g2is"] != self._expected["g2is"]:
            raise ConfigError(
                f"node {node}: expected g2is {self._expected['g2is']}, as the command is of, found {found['g2is']}."
                " Install the same version on all nodes"
            )
        for name in _COMPUTE:
            if found[name] != self._expected[name]:
                self._notices.append(
                    f"node {node} has {name} {found[name]}, the command {self._expected[name]}: its rows may differ in"
                    " the last digits"
                )
        if isinstance(self._place, Path) and not self._place.is_dir():
            raise StoreError(
                f"node {node}: expected the command's folder {self._place}, found none. Name one on a file system that"
                " all nodes have under the same path"
            )
        self._check_held()
        try:
            open_worker: Open = pickle.loads(self._opens)  # which imports what computes
            self._worker = open_worker(self._notices.append)
        except G2isError as error:
            raise type(error)(f"node {node}: {error}") from None
        return self.told()

    def make(self, job: Job) -> Told:
        """Have `job` done and stored. Raises what that raises, StoreError once the command has ended."""
        assert self._worker is not None, "an actor opens before it works"
        with self._telling:
            self._number, self._tokens = job.number, 0
        self._worker.make(job, self._add)
        return self.told()

    def told(self) -> Told:
        """How far the job at work is, from another thread; notices once."""
        with self._telling:
            notices, self._notices = self._notices, []
            return self._number, self._tokens, notices

    def _add(self, num_tokens: int) -> None:
        with self._telling:
            self._tokens += num_tokens
        if (now := time.monotonic()) - self._checked > _SECONDS_BETWEEN_CHECKS or not num_tokens:  # 0: it is to store
            self._checked = now
            self._check_held()

    def _check_held(self) -> None:
        """Raise StoreError if the command that this works for does not hold its folder, or not the one seen here.

        A node that was cut off may work on for a while when its command has ended; another then has the folder.
        """
        if words_of(self._place) != self._held:
            raise StoreError(
                f"node {socket.gethostname()}: expected {self._place} to be what the command holds"
                f" ({self._held.strip()}), found another there, or a command that has ended. Name a folder on a file"
                " system that all nodes have under the same path"
            )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
