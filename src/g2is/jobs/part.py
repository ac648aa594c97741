"""`g2is gradients --worker I/N`: one part of the plan, by a process that a batch scheduler started with N-1 others.

Whichever comes first plans: it reads the files, makes the warm-up and writes down which rows make which shard, and has
the store alone meanwhile. The others wait for that. Then each holds the store together with the others and makes the
shards of its part, in any order and at any time; `g2is select` finds what is missing, and makes that.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from g2is.config import Config
from g2is.config.part import Part
from g2is.engine.wanted import WantedRows
from g2is.errors import ConfigError, FolderInUseError
from g2is.examples.dataset import Examples
from g2is.jobs.gradient_rows import wanted_gradients
from g2is.jobs.pinned import pin
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.select import run
from g2is.jobs.stages import Stage
from g2is.jobs.store_rows import extract_gradients
from g2is.jobs.worker import read_as_planned
from g2is.machine.visible import num_devices, only
from g2is.model.devices import devices_taken
from g2is.model.folder import resolve_device
from g2is.progress import Progress, Reporter, Silent
from g2is.store.lock import holder_of, locked, remove_held, shared, waiting
from g2is.store.manifest import GRADIENTS, Store, is_read_alone, join_store
from g2is.store.markers import markers_in
from g2is.store.plan import PLAN
from g2is.warmup.train import finished_warmup

_SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class MadePart:
    """What came of a part: shards made now, and shards of other parts that are not stored yet."""

    num_made: int
    num_left: int


@dataclass
class _Course:
    """A reporter in place of a run folder: a part keeps no summary, for others may use the folder."""

    reporter: Reporter

    def stage(self, title: str, unit: str, stage: Stage | None = None) -> AbstractContextManager[Progress]:
        del stage  # under which a run keeps its seconds
        return self.reporter.stage(title, unit)

    def notice(self, text: str) -> None:
        self.reporter.notice(text)


@dataclass(frozen=True)
class _Joined:
    """A command prepared in a store that it shares with others, whose plan has all rows that are missing."""

    prepared: Prepared
    store: Store
    examples: Examples

    def tables(self) -> list[WantedRows]:
        """The tables, with what is stored by now."""
        checkpoints = finished_warmup(self.store.warmup) or []
        return wanted_gradients(self.prepared.config, self.store, self.examples, checkpoints)

    def num_missing(self) -> int:
        """Shards of the plan that are not stored yet."""
        return sum(len(wanted.planned(lambda _: None) or []) for wanted in self.tables())


def make_part(config: Config, part: Part, reporter: Reporter | None = None) -> MadePart:
    """Store the gradient rows of one part of the plan, making the plan first if no other process does.

    Raises a G2isError for everything a user can mend.
    """
    if isinstance(config.store, str):
        raise ConfigError(
            f"--worker {part}: expected a store in a folder that all workers see, for they hold it together by its file"
            f" system's locks, found {config.store}. Name such a folder, or have one command make all rows: with"
            " --workers N on one machine, with --engine ray on several (--worker 1/1 under a scheduler)"
        )
    if part.count > 1 and config.execution.engine == "ray":
        raise ConfigError(
            f"--worker {part}: expected the engine local beside other parts, found ray, whose cluster makes all rows"
            " of one command. Leave --engine out, or give --worker 1/1"
        )
    reporter = reporter or Silent()
    _take_own_device(config, part)
    config = pin(config, reporter)
    is_local = config.execution.engine == "local"
    taken = devices_taken(config.model, resolve_device(config.execution.device)) if is_local else []
    if is_read_alone(config.store_folder):
        with waiting(reporter):  # for the folder of the run, with the other parts
            run(config, "plan", reporter)  # which finds all rows there, or says what is missing
        return MadePart(0, 0)
    with ExitStack() as wait, devices_held(taken, part):
        said, seen = "", None
        while True:
            with shared(config.store_folder) as held:
                now = _begun(config) if held else None
                if now != seen and now is not None:
                    joined = _join(config, reporter)
                    if joined is not None:
                        wait.close()
                        return _make(joined, part, reporter)
                seen = now or seen
            try:
                with waiting(None):
                    if said:
                        _check_is_free(config.store_folder)
                    run(config, "plan", reporter)
                seen = None
            except FolderInUseError as error:
                if not said:
                    wait.enter_context(reporter.stage("wait for the plan", ""))
                if said != (said := str(error).partition(" Wait for")[0]):
                    reporter.notice(f"{said} Worker {part} begins when tokens, warm-up and plan are there")
                time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextmanager
def devices_held(names: Sequence[str], part: Part) -> Iterator[None]:
    """Hold the devices of these `names` against other parts on this machine, whose models are spread as well.

    Raises ConfigError where one of them has any of these: each would take the memory of all it sees.
    """
    folder = Path(tempfile.gettempdir()) / f"g2is-devices-{os.getuid()}"
    with ExitStack() as held:
        for name in names:
            try:
                with waiting(None):
                    held.enter_context(locked(folder / name, "device"))
            except FolderInUseError:
                raise ConfigError(
                    f"--worker {part}: expected devices of its own beside model.device_map, since a model that is"
                    f" spread takes all that its process sees, found {name} in use by another g2is process"
                    f"{holder_of(folder / name)}. Give each part its own (srun --gpus-per-task, or"
                    " CUDA_VISIBLE_DEVICES), or start one part a machine"
                ) from None
            held.callback(remove_held, folder / name)  # while it is still held
        yield


def _check_is_free(store: Path) -> None:
    """Raise FolderInUseError while another process holds the store: to plan reads the whole model before it asks."""
    with locked(store, "store") as new:
        if new:
            remove_held(store)


def _begun(config: Config) -> tuple[float, ...] | None:
    """What a store has of a plan, of shards and tokens; None where no plan could have all that is missing yet.

    While that stays, one look is enough, which reads the model, pool and targets.
    """
    if finished_warmup(config.store_folder / "warmup") is None:
        return None
    folders = [config.store_folder / GRADIENTS / kind for kind in ("pool", "target")]
    pool, target = ((_changed(folder / PLAN), len(markers_in(folder))) for folder in folders)
    return (*pool, *target, _changed(config.store_folder / "examples")) if any(pool) else None


def _changed(file: Path) -> float:
    """When a file was last written, in seconds; 0 where there is none."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0


def _join(config: Config, reporter: Reporter) -> _Joined | None:
    """The command prepared as who planned has; None where the plan or tokens lack something that it wants."""
    prepared = prepare(config, reporter)
    store = join_store(config.store_folder, prepared.fingerprint)
    examples = read_as_planned(prepared)
    if examples is None:
        return None
    joined = _Joined(prepared, store, examples)
    return joined if all(of.planned(reporter.notice) is not None for of in joined.tables()) else None


def _make(joined: _Joined, part: Part, reporter: Reporter) -> MadePart:
    checkpoints = finished_warmup(joined.store.warmup) or []
    course = _Course(reporter)
    num_made = extract_gradients(joined.prepared, joined.store, joined.examples, checkpoints, course, part)
    return MadePart(num_made, joined.num_missing())


def _take_own_device(config: Config, part: Part) -> None:
    """Where a scheduler started several processes on this machine, each has a device of those they all see.

    One whose model is spread has all that it sees (`devices_held`). Nothing may have asked CUDA before (`only`).
    """
    execution = config.execution
    if part.place is None or execution.workers is not None or config.model.device_map is not None:
        return
    if execution.device in ("auto", "cuda") and (num := num_devices(os.environ)) > 1:
        os.environ.update(only(part.place % num, os.environ))
