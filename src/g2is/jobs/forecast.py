"""How long a command is going to take, from what passes take here (`pace.py`)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from g2is.config import Config, ExecutionConfig
from g2is.engine.wanted import TokenRows
from g2is.errors import first_line, tells_of_memory
from g2is.examples.dataset import Examples, Joined
from g2is.examples.table import ExampleTable
from g2is.jobs.engines import num_workers
from g2is.jobs.gradient_rows import wanted_gradients
from g2is.jobs.pace import Pace, sample_of
from g2is.machine.memory import fits_in_memory
from g2is.methods import representation_kind
from g2is.model.batches import Row
from g2is.model.folder import ModelFolder, resolve_device
from g2is.selection.plan import Plan
from g2is.store.manifest import Kind, join_store
from g2is.store.plan import missing_rows
from g2is.warmup.seeds import tokens_to_train
from g2is.warmup.train import COMPLETE, finished_warmup

Load = Callable[[], Any]  # gives the model
Work = Mapping[str, tuple[Pace, float]]  # what is to be done, by name: its pace, and how much of it there is


@dataclass(frozen=True)
class Left:
    """What a store lacks of a run's gradients: whether `warm_up`, and the tokens of each row by kind, rows alike once.

    `trained` are the tokens of all passes of that warm-up; 0 where none is to be trained.
    """

    warm_up: bool
    trained: int
    lengths: Mapping[Kind, np.ndarray]

    @property
    def rows(self) -> dict[Kind, int]:
        """How many rows of each kind."""
        return {kind: len(lengths) for kind, lengths in self.lengths.items()}

    @property
    def num_tokens(self) -> int:
        """Of pool and targets."""
        return sum(int(lengths.sum()) for lengths in self.lengths.values())


@dataclass(frozen=True)
class Forecast:
    """Seconds by what takes them, and what they were measured on; without any, `why_not` says why."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    measured: str = ""
    why_not: str = ""


def forecast(
    folder: ModelFolder,
    num_parameters: int,
    execution: ExecutionConfig,
    measure: Callable[[Load], Work],
    shared: Collection[str] = (),
    beside: int = 0,
) -> Forecast:
    """What takes how long, by `measure`, which may load the model; what is `shared` among workers is divided by these.

    Nothing is measured where this machine is no measure of the work, or has no room for the model and the bytes that
    lie `beside` it.
    """
    if execution.engine != "local":
        return Forecast(why_not="the work is a Ray cluster's, and this machine is no measure of that")
    device = resolve_device(execution.device)
    num_bytes = folder.num_bytes(num_parameters, device) + beside
    if device.type == "cpu" and not fits_in_memory(num_bytes):
        room = f"{num_bytes / 2**30:.1f} GiB"
        what = f"the {room} of the model and its training" if beside else f"the model's {room}"
        return Forecast(why_not=f"{what} do not fit into the memory that this machine has left")
    try:
        work = measure(lambda: folder.load(device))
    except Exception as error:
        if not tells_of_memory(error):
            raise
        return Forecast(why_not=f"the model does not fit into memory ({first_line(error)})")
    workers = num_workers(execution, folder.config) if device.type == "cuda" else 1  # on a CPU they share its cores
    seconds: dict[str, float] = {}
    for name, (pace, num) in work.items():
        time = pace.time_for(num)
        if time is None:
            return Forecast(why_not=pace.why_not or f"there is nothing to measure {name} on")
        seconds[name] = time / workers if name in shared else time
    taken = sum({id(pace): pace.seconds for pace, _ in work.values()}.values())
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    others = f", one of {workers} that share the work" if workers > 1 else ""
    return Forecast({name: of for name, of in seconds.items() if of}, f"{taken:.0f} s on this machine ({on}{others})")


def sampled(table: TokenRows, num_rows: int) -> list[Row]:
    """Rows of a table that passes are measured on, in a random order."""
    return table.token_rows(np.asarray(sample_of(num_rows)))


def left_to_make(config: Config, fingerprint: Any, examples: Examples, can_look: bool) -> Left:
    """What the store does not hold of the run's adapter and gradients.

    Nothing is written. Where one cannot look into the store, it is taken to hold none.
    """
    path = config.store_folder
    warmup = path / "warmup"
    checkpoints = None
    # one with leftovers is tidied when it is asked for, which is for a run to do
    if can_look and (warmup / COMPLETE).exists() and not (warmup / "trainer").exists():
        checkpoints = finished_warmup(warmup)
    missing: dict[Kind, np.ndarray] = {}
    tables: dict[Kind, ExampleTable | Joined] = {"pool": examples.pool, "target": examples.all_targets}
    if checkpoints is None:
        for kind, table in tables.items():
            _, missing[kind] = np.unique(table.keys, axis=0, return_index=True)
    else:
        for wanted in wanted_gradients(config, join_store(path, fingerprint), examples, checkpoints):
            missing[wanted.kind] = missing_rows(wanted.examples.keys, wanted.table.positions())
    return Left(
        checkpoints is None,
        tokens_to_train(config.warmup, config.selection.warmup_seeds, examples.pool.keys, examples.pool.num_tokens)
        if checkpoints is None and config.warmup.adapter is None
        else 0,
        {kind: table.num_tokens[missing[kind]] for kind, table in tables.items()},
    )


@dataclass(frozen=True)
class InRounds:
    """Tokens gone through between the rounds of a selection: `tuned` in all passes over rows that are taken, and the
    `targets`' whose gradients are taken anew. 0 without rounds.
    """

    tuned: float = 0.0
    targets: int = 0


@dataclass(frozen=True)
class OfRows:
    """Tokens gone through for the rows of a representation that is no gradient: in `passes` forward, with the adapters
    that it tunes, and in the `tunings` of these on the targets.
    """

    passes: int
    tunings: int


def work_of_rows(config: Config, pool_tokens: int, target_tokens: int, num_targets: int) -> OfRows:
    """What the rows of pool and targets take."""
    kind, settings = representation_kind(config.selection.representation), config.representation
    epochs = sum(of.epochs for of in kind.tunings(settings))
    return OfRows(kind.passes(settings, num_targets) * (pool_tokens + target_tokens), epochs * target_tokens)


def work_in_rounds(config: Config, plan: Plan, lengths: np.ndarray, target_tokens: int) -> InRounds:
    """What the tunings of a selection take that was `plan`ned for a pool of rows of these `lengths` (N,) int.

    Before each round but the first, every checkpoint is tuned on what was taken so far, for each target by itself: a
    part of its budget that grows evenly, so in all rounds R together (R - 1) / 2 of it (`passes_between_rounds`).
    """
    share = sum(plan.shares(len(lengths)).values())
    again = config.selection.rounds - 1
    return InRounds(
        config.passes_between_rounds * share * int(lengths.sum()), again * target_tokens * config.num_checkpoints
    )
