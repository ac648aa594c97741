"""A process that only works on jobs: it prepares as the command does, and takes no lock, for the planner holds them.

What it reads lies where the planner's settings say: the model, the pool's and targets' files, the store with their
tokens and the finished warm-up. That they are the same is checked: the store's fingerprint, the warm-up's digests, and
the plan, which names each row by its content.
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from threading import Lock

import torch

from g2is.config import Config
from g2is.config.io import parse
from g2is.engine.job import ShardJob
from g2is.engine.local import Work
from g2is.engine.wanted import WantedRows
from g2is.engine.worker import Notice
from g2is.errors import StoreError
from g2is.examples.dataset import Examples
from g2is.examples.make_table import NoTokensError
from g2is.gradients.extract import load_extractor
from g2is.jobs.gradient_rows import gradient_work, wanted_gradients
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.read_data import read_inputs
from g2is.jobs.representation import maker_of, row_work, wanted_rows
from g2is.machine.ranks import take_device
from g2is.methods import OWN
from g2is.progress import Silent
from g2is.representations.own import Representation
from g2is.store.elsewhere import name_of, place_of
from g2is.store.manifest import GRADIENTS, Kind, join_store
from g2is.store.reach import join
from g2is.warmup.train import Checkpoint, finished_warmup

WorkOf = Callable[[WantedRows, Callable[[int], None]], Work]  # of a table, and who is told of tokens done


def as_settings(config: Config) -> str:
    """The settings of a command that has reached its store, for `open_worker` in any process that can reach it."""
    return config.model_copy(update={"store": place_of(config.store_folder)}).model_dump_json()


def open_worker(
    config_json: str, device: str, threads: int, notice: Notice, *, own: Representation | None = None
) -> "TableWorker":
    """Prepare to make shards for the command whose settings are `config_json`, a Config as JSON.

    On a `device` cpu or cuda (the first that this process sees, or its own of several), with so many `threads`.
    `own` is a representation of the user's own, if the command has one. Raises a G2isError where this process does not
    find what the command's own did.
    """
    torch.set_num_threads(threads)
    config: Config = parse(Config, json.loads(config_json), "the settings of a worker")
    execution, store = config.execution.model_copy(update={"device": device}), join(config.store)
    config = config.model_copy(update={"execution": execution, "store": store})
    prepared = prepare(config, Silent())  # whose notices the command itself has passed on
    examples = read_as_planned(prepared)
    if examples is None:
        raise StoreError(
            f"{name_of(store / 'examples')}: expected the tokens of pool and targets, as the command made them, found"
            " none of what this process reads. Give all processes the same files and versions of packages"
        )
    return TableWorker(prepared, examples, notice, own)


def read_as_planned(prepared: Prepared) -> Examples | None:
    """Pool and targets by the tokens that who planned has left in the store; None where some are not there.

    Raises as `read_inputs`. Nothing is written to the store.
    """
    try:
        return read_inputs(prepared, None, Silent(), prepared.config.store_folder / "examples")
    except NoTokensError:
        return None


class TableWorker:
    """Makes the shards of any table of one command; what that needs is opened with the first job that asks for it.

    Where several threads make shards, one is computed at a time, while others are read or written.
    """

    def __init__(self, prepared: Prepared, examples: Examples, notice: Notice, own: Representation | None) -> None:
        """Everything is found and read, but for the weights of a model."""
        self._prepared, self._examples, self._notice, self._own = prepared, examples, notice, own
        self._tables: dict[str, tuple[Mapping[Kind, WantedRows], WorkOf]] = {}
        self._reading, self._writing = Lock(), Lock()
        # all of it in one thread, for each that computes would have threads of its own for it
        self._computing = ThreadPoolExecutor(1, "g2is shard", _begin_to_compute, (torch.get_num_threads(),))

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        """As every `Worker`. Raises StoreError where the job is of another command."""
        with self._reading:
            if job.representation not in self._tables:
                self._tables[job.representation] = self._computing.submit(self._open, job.representation).result()
            tables, work_of = self._tables[job.representation]
        wanted = tables[job.kind]
        if wanted.table.marker_place(job.number).exists():
            add(int(wanted.examples.num_tokens[list(job.rows)].sum()) * max(1, len(job.checkpoints)))
            return
        with self._reading:
            token_rows = wanted.read(job)
        made = self._computing.submit(work_of(wanted, add), job, token_rows).result()
        with self._writing:
            add(0)
            wanted.table.write(job.number, made)

    def _open(self, representation: str) -> tuple[Mapping[Kind, WantedRows], WorkOf]:
        return self._gradients() if representation == GRADIENTS else self._others(representation)

    def _gradients(self) -> tuple[Mapping[Kind, WantedRows], WorkOf]:
        config = self._prepared.config
        store = join_store(config.store_folder, self._prepared.fingerprint)
        extractor = load_extractor(
            self._prepared.model,
            {checkpoint.name: checkpoint.folder for checkpoint in self._checkpoints},
            config.gradients.projection,
            config.execution,
            self._notice,
        )
        tables = wanted_gradients(config, store, self._examples, self._checkpoints)
        return (
            {wanted.kind: wanted for wanted in tables},
            lambda wanted, add: gradient_work(extractor, wanted, add),
        )

    @cached_property
    def _checkpoints(self) -> list[Checkpoint]:
        found = finished_warmup(self._prepared.config.store_folder / "warmup")
        if found is None:
            raise StoreError(
                f"{self._prepared.config.store_folder / 'warmup'}: expected a finished warm-up, found none. The command"
                " that plans the shards makes it first"
            )
        for checkpoint in found:
            checkpoint.check()
        return found

    def _others(self, name: str) -> tuple[Mapping[Kind, WantedRows], WorkOf]:
        is_own = self._own is not None and self._own.name == name
        maker = maker_of(
            OWN + name if is_own else name, self._prepared, _Notices(self._notice), self._own, self._examples
        )
        arrays_of = maker.open()
        tables = wanted_rows(maker, join_store(self._prepared.config.store_folder, None), self._examples)
        return {wanted.kind: wanted for wanted in tables}, lambda wanted, add: row_work(arrays_of, wanted, add)


class _Notices(Silent):
    """A reporter that passes notices on alone."""

    def __init__(self, notice: Notice) -> None:
        self._pass_on = notice

    def notice(self, text: str) -> None:
        """Pass it on."""
        self._pass_on(text)


def _begin_to_compute(num_threads: int) -> None:
    """What torch keeps for each thread, in one that is new."""
    torch.set_num_threads(num_threads)
    take_device()
