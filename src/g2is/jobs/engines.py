"""Who does a command's jobs: this process, worker processes of this machine, or a cluster.

`make_rows` is where shards of all kinds of rows are made. How many processes share it, and which, changes no byte.
`open_engines` has the processes and clusters of whatever jobs.
"""

import gc
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from g2is.config import ExecutionConfig, ModelConfig
from g2is.config.part import Part
from g2is.engine.job import Engine, ShardJob
from g2is.engine.launched import LaunchedEngine, stop_others
from g2is.engine.local import LocalEngine
from g2is.engine.processes import FailedJobsError, ProcessEngine, open_processes
from g2is.engine.wanted import WantedRows
from g2is.engine.worker import Notice, Open
from g2is.errors import ConfigError, WorkerError
from g2is.examples.dataset import Examples
from g2is.jobs.cluster import OpenOn, ray_engines, with_dtype
from g2is.jobs.prepare import Prepared
from g2is.jobs.stages import Stage
from g2is.jobs.worker import WorkOf, as_settings, open_worker
from g2is.machine.passive import passive
from g2is.machine.ranks import check_device, team
from g2is.machine.visible import num_devices, only
from g2is.model.folder import resolve_device
from g2is.progress import Progress, counter
from g2is.representations.own import Representation
from g2is.store.elsewhere import place_of

EngineOf = Callable[[WantedRows, Callable[[int], None]], Engine[ShardJob]]  # of a table, and who is told of tokens done
_NAMED_ROWS = 8  # of a shard that failed
# A process's last words are to say why it ended, not what a library said of something else.
_QUIET = {"PYTHONWARNINGS": "ignore", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class Course(Protocol):
    """Who is told of the course of a command: its run folder, or where it has none of its own, a reporter."""

    def notice(self, text: str) -> None:
        """Say something the user should know and need not act on."""

    def stage(self, title: str, unit: str, stage: Stage | None = None) -> AbstractContextManager[Progress]:
        """Open a stage, whose seconds may be kept under the id `stage`."""


def make_rows(
    tables: Sequence[WantedRows],
    stages: Sequence[tuple[str, Stage]],
    passes: int,
    prepared: Prepared,
    examples: Examples,
    folder: Course,
    work_here: Callable[[], WorkOf],
    own: Representation | None = None,
    part: Part | None = None,
) -> int:
    """Plan and make all rows that the `tables` lack, each table in its stage of `stages` (title and id).

    Where there is a `part`, another process has planned, and that part of the plan is made. Returns how many shards
    were made. Every token is gone through `passes` times. `work_here` opens what this process needs if it does the work
    itself. Raises what engines raise; WorkerError, when all others are stored, naming rows that no worker could make.
    """
    if part is None:
        planned = [wanted.plan(folder.notice) for wanted in tables]
    else:
        planned = [part.of(wanted.planned(folder.notice) or ()) for wanted in tables]
    num_shards = sum(map(len, planned))
    if not num_shards:
        return 0
    num_made = 0
    failed: list[str] = []
    with _engines(prepared, num_shards, folder, work_here, own) as engine_of:
        for wanted, shards, (title, stage) in zip(tables, planned, stages, strict=True):
            if not shards:
                continue
            with folder.stage(title, "tokens", stage) as progress:
                add = counter(wanted.num_tokens(shards) * passes, progress)
                try:
                    if part is None:
                        wanted.make(shards, engine_of(wanted, add))
                        num_made += len(shards)
                    else:
                        num_made += wanted.make_part(shards, engine_of(wanted, add))
                except FailedJobsError as error:
                    failed += [_describe(examples, job, reason) for job, reason in error.reasons.items()]
    if failed:
        raise WorkerError(
            "expected every shard to be made, found some that failed each time they were tried; all others are stored."
            " Mend or leave out (--exclude) the rows at fault and give the command again:\n" + "\n".join(failed)
        )
    return num_made


def num_workers(execution: ExecutionConfig, model: ModelConfig) -> int:
    """How many processes the settings ask for: unless they say it, one for each visible CUDA device, one on a CPU.

    One for a model that is spread over all devices.
    """
    if execution.workers is not None:
        return execution.workers
    if model.device_map is not None:
        return 1
    return max(1, num_devices(os.environ)) if resolve_device(execution.device).type == "cuda" else 1


def check_not_shared_twice(execution: ExecutionConfig) -> None:
    """Raise ConfigError where a launcher started several processes and the settings ask for others beside them."""
    if (others := team()) is not None and (execution.workers is not None or execution.engine != "local"):
        name = "engine" if execution.engine != "local" else "workers"
        raise ConfigError(
            f"execution.{name}: expected none beside torchrun, whose {others.place.count} processes make rows, found"
            f" {getattr(execution, name)}. Leave it out, or start g2is without torchrun"
        )


@contextmanager
def _engines(
    prepared: Prepared,
    num_shards: int,
    folder: Course,
    work_here: Callable[[], WorkOf],
    own: Representation | None,
) -> Iterator[EngineOf]:
    execution = prepared.config.execution
    if (others := team()) is not None:
        check_device(resolve_device(execution.device))
        device = resolve_device(execution.device).type
        opening = {"config": as_settings(prepared.config), "device": device}
        work_of = work_here()
        try:
            yield lambda wanted, add: LaunchedEngine(others, LocalEngine(wanted, work_of(wanted, add)), opening, add)
        except BaseException:
            stop_others(others)  # while this process still holds the store that they write to
            raise
        for text in dict.fromkeys(others.posted("notice", 0)):
            folder.notice(text)
        return
    is_local = execution.engine == "local"
    num_processes = min(num_workers(execution, prepared.config.model), num_shards)
    if is_local and num_processes > 1 and own is not None and not _can_be_sent(own):
        folder.notice(
            f"representation {own.name}: expected a function of a module that worker processes can import, found one"
            " that they cannot; its rows are made in this process alone"
        )
        num_processes = 1
    if is_local and num_processes == 1:
        work_of = work_here()
        yield lambda wanted, add: LocalEngine(wanted, work_of(wanted, add))
        return
    config = with_dtype(prepared.config, prepared.identity)
    open_on, store = partial(open_worker, as_settings(config), own=own), place_of(config.store_folder)
    with open_engines(execution, config.model, open_on, store, num_shards, folder.notice, at_once=2) as engine_of:
        yield lambda wanted, add: engine_of(add)


@contextmanager
def open_engines(
    execution: ExecutionConfig,
    model: ModelConfig,
    open_on: OpenOn,
    place: Path | str,
    num_jobs: int,
    notice: Notice,
    at_once: int,
) -> Iterator[Callable[[Callable[[int], None]], Engine[Any]]]:
    """Processes of this machine, or a cluster, for so many jobs: what gives an engine, by who is told of tokens done.

    Each opens with `open_on`; one of this machine does jobs `at_once`. The command holds its `place`, a folder or URL,
    below which they write.
    """
    if execution.engine == "ray":
        with ray_engines(execution, open_on, place, num_jobs, notice) as engine_of:
            yield engine_of
        return
    gc.collect()
    torch.cuda.empty_cache()  # what this process held on a device, a worker needs
    opens = _places(execution, model, min(num_workers(execution, model), num_jobs), open_on)
    with open_processes(opens, notice, at_once) as processes:
        yield lambda add: ProcessEngine(processes, add)


def _places(
    execution: ExecutionConfig, model: ModelConfig, num_processes: int, open_on: OpenOn
) -> list[tuple[Open, dict[str, str]]]:
    """How each of several processes opens a worker, and its environment: a device each, an equal share of threads.

    One whose model is spread sees all devices.
    """
    threads = max(1, torch.get_num_threads() // num_processes)
    environment = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment |= passive(os.environ) | _QUIET
    kind = resolve_device(execution.device).type
    devices = num_devices(os.environ) if kind == "cuda" and model.device_map is None else 0
    sees = [only(number % devices, os.environ) if devices else {} for number in range(num_processes)]
    return [(partial(open_on, kind, threads), environment | of_one) for of_one in sees]


def _can_be_sent(own: Representation) -> bool:
    """Whether another process can be given the user's function: by name, from a module that is no script."""
    try:
        pickle.dumps(own)
    except Exception:  # pickle and what it asks tell of it in many ways
        return False
    return getattr(own.rows, "__module__", None) != "__main__"


def _describe(examples: Examples, job: ShardJob, reason: str) -> str:
    """A shard that failed, by the ids of its rows."""
    ids = (
        examples.pool.ids
        if job.kind == "pool"
        else [of_row for table in examples.targets.values() for of_row in table.ids]
    )
    named = ", ".join(ids[row] for row in job.rows[:_NAMED_ROWS])
    more = len(job.rows) - _NAMED_ROWS
    rest = f" and {more} more after these" if more > 0 else ""
    return f"shard {job.number} of the {job.kind}, rows {named}{rest}: {reason}"
