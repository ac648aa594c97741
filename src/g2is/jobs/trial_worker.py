"""A process that only tunes and tests for a comparison: it prepares as the command does, and takes no lock.

That it finds the same is checked: the tokens lie in the comparison's folder, and a job says what it is made from.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.engine.worker import Notice
from g2is.errors import StoreError
from g2is.examples.make_table import NoTokensError
from g2is.jobs.read_data import read_inputs
from g2is.jobs.test_rows import read_tests
from g2is.jobs.trial import Bench, TrialJob, open_bench
from g2is.jobs.trials import prepare_trials
from g2is.progress import Progress, Silent


def open_trial_worker(config_json: str, device: str, threads: int, notice: Notice) -> "TrialWorker":
    """Prepare to tune and test for the comparison whose settings are `config_json`, a CompareConfig as JSON.

    `device` and `threads` as `open_worker` has them. Raises a G2isError where this process does not find what the
    command's own did.
    """
    config: CompareConfig = parse(CompareConfig, json.loads(config_json), "the settings of a worker")
    execution = config.execution.model_copy(update={"device": device})
    config = config.model_copy(update={"execution": execution})
    torch.set_num_threads(threads)
    prepared, made = prepare_trials(config, Silent()), config.out / "examples"  # the command has passed notices on
    try:
        examples = read_inputs(prepared, None, Silent(), made)
        tests = read_tests(config, prepared, None, Silent(), made)
    except NoTokensError:
        raise StoreError(
            f"{made}: expected the tokens of pool, targets and tests, as the command made them, found none of what"
            " this process reads. Give all processes the same files and versions of packages"
        ) from None
    return TrialWorker(open_bench(config, prepared, examples.pool, tests, Silent().notice), notice, threads)


class TrialWorker:
    """Does the trials of one comparison, one at a time."""

    def __init__(self, bench: Bench, notice: Notice, threads: int) -> None:
        """With `threads` for whoever calls `make`, which may be another thread than this."""
        self._bench, self._notice, self._threads = bench, notice, threads

    def make(self, job: TrialJob, add: Callable[[int], None]) -> None:
        """As every `Worker`. Raises StoreError where the job is of another comparison, else as `Bench.make`."""
        torch.set_num_threads(self._threads)
        self._bench.check(job)
        told = _Told(self._bench.tokens(job), self._notice, add)
        self._bench.make(job, told)
        told.rest()


class _Told:
    """A reporter that tells the course of a job's stages in tokens, of which `tokens` has those of each by title."""

    def __init__(self, tokens: Mapping[str, int], notice: Notice, add: Callable[[int], None]) -> None:
        self.notice = notice
        self._tokens, self._add = tokens, add
        self._told = dict.fromkeys(tokens, 0)

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        """Tell the progress of a stage, in whatever unit."""
        del unit

        def progress(done: int, total: int) -> None:
            self._tell(title, self._tokens[title] * done // max(1, total))

        yield progress

    def rest(self) -> None:
        """Tell of what was done before, or without a word."""
        for title, num_tokens in self._tokens.items():
            self._tell(title, num_tokens)

    def _tell(self, title: str, num_tokens: int) -> None:
        self._add(num_tokens - self._told[title])
        self._told[title] = num_tokens
