"""One worker process of this machine, as the process that started it sees it."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from g2is.engine.job import Job
from g2is.engine.worker import Open

# Not multiprocessing's own start: that runs the user's script once more, which need not be written for it.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from g2is.engine.child import main; main(int(sys.argv[1]), int(sys.argv[3]))"
)
_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_MOST_WORDS = 4096


@dataclass
class Process:
    """A running process; `in_hand` are the jobs that it was sent and has not told the end of, by number.

    `tokens` are those done of each.
    """

    popen: "subprocess.Popen[bytes]"
    connection: Connection
    words: Any  # a file: what it prints
    ready: bool = False
    in_hand: dict[int, Job] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)

    def send(self, job: Job) -> None:
        """Hand a job over. One that died meanwhile is found out by whoever waits for what it tells."""
        self.in_hand[job.number], self.tokens[job.number] = job, 0
        with suppress(OSError):
            self.connection.send(job)

    def done(self, number: int) -> Any:
        """Take a job out of its hands."""
        del self.tokens[number]
        return self.in_hand.pop(number)

    def end(self) -> str:
        """End it if it still runs, at once; returns how it ended, and its last words."""
        self.connection.close()
        if self.popen.poll() is None:
            self.popen.kill()
        code = self.popen.wait()
        self.words.seek(0, os.SEEK_END)
        self.words.seek(max(0, self.words.tell() - _MOST_WORDS))
        lines = [line.strip() for line in self.words.read().decode(errors="replace").splitlines() if line.strip()]
        self.words.close()
        how = f"killed by {_name(-code)}" if code < 0 else f"exit code {code}"
        return f"{how}: {lines[-1]}" if lines else how

    def died(self) -> str:
        """How a process that closed its end of the connection ended."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(timeout=5)
        return self.end()


def start(open_worker: Open, environment: Mapping[str, str], at_once: int) -> Process:
    """Start a process that opens a worker, with `environment` beside this process's own; it does jobs `at_once`.

    Ctrl-C and SIGTERM, which a terminal and schedulers send to all processes of a command, do not reach it: the one
    that started it ends it.
    """
    ours, theirs = socket.socketpair()
    words = tempfile.TemporaryFile()  # noqa: SIM115  # it is closed with the process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # which a child inherits
    try:
        popen = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path), str(at_once)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            pass_fds=[theirs.fileno()],
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    connection = Connection(ours.detach())
    started = Process(popen, connection, words)
    with suppress(OSError):
        connection.send_bytes(pickle.dumps(open_worker))
    return started


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
