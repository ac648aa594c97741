"""A worker of a comparison that fails in the midst of some of its tunings, as it is told to."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import forked

from g2is.errors import ModelError
from g2is.jobs import cells
from g2is.jobs.trial import TrialJob
from g2is.jobs.trial_worker import TrialWorker, open_trial_worker


@dataclass(frozen=True)
class FailingWorker:
    """Does what `worker` does, and fails (`how`: kill, error) within the tunings of the cells that begin with `of`.

    Each try is a line of the file `tries`.
    """

    worker: TrialWorker
    of: str
    how: str
    tries: Path

    def make(self, job: TrialJob, add: Callable[[int], None]) -> None:
        if not job.cells.startswith(self.of):
            self.worker.make(job, add)
            return
        with self.tries.open("a") as file:
            file.write(f"{job.cells}\n")
        num_told = 0

        def told(num_tokens: int) -> None:
            nonlocal num_told
            add(num_tokens)
            num_told += num_tokens > 0
            if num_told > 1:
                if self.how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise ModelError("expected a better tuning")

        self.worker.make(job, told)


def open_failing(of: str, how: str, tries: Path, *arguments: Any) -> FailingWorker:
    """As `open_trial_worker`."""
    return FailingWorker(open_trial_worker(*arguments), of, how, tries)


def command_that_fails(arguments: list[str], errors: Path, of: str, how: str, tries: Path) -> None:
    """`g2is ARGUMENTS` in this process, whose workers fail."""
    vars(cells)["open_trial_worker"] = partial(open_failing, of, how, tries)
    forked.command_here(arguments, errors)
