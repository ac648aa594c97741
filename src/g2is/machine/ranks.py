"""The processes that torchrun started for one command: process 0 does it, the others do what it hands them.

They talk through torch's key-value store, which torchrun keeps, or process 0 where another launcher started them:

    task/N     what process 0 hands out, JSON, in order
    ready/N/R  process R can begin with task N
    error/R    why process R gave up, JSON
    alive/R    grows while process R lives
    notice/…   what process 0 is to tell the user
    end        process 0 is done
    left/R     process R has heard of it

Only process 0 takes locks, writes what is kept and speaks to the user.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any

from g2is import errors
from g2is.errors import ConfigError, G2isError, WorkerError, first_line, tells_of_memory
from g2is.machine.places import Place

if TYPE_CHECKING:
    import torch

_OTHERS_WAIT = timedelta(minutes=10)  # for one that is slow at a step; one that is gone shows at once
_SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_BETWEEN_SIGNS, _SECONDS_TO_LIVE = 5.0, 120.0  # signs of life, and how long one may be without
_SECONDS_TO_LEAVE = 2.0  # that process 0 gives the others when it is done
_SECONDS_TO_HEAR = 5.0  # why another gave up, after its connection broke


class Team:
    """The processes of a command, seen from the one at `place`."""

    def __init__(self, place: Place, store: Any) -> None:  # of torch.distributed, whose types are not exported
        self.place = place
        self.store = store
        self.next_number = 0  # of the task that is handed out next
        self.others = range(1, place.count)
        self._alive: dict[int, tuple[int, float]] = {}  # by rank: the last sign of life, and when it came

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.place.rank == 0

    def hand_out(self, task: Mapping[str, Any]) -> int:
        """Hand the others a task, by process 0; returns its number."""
        self.store.set(f"task/{self.next_number}", json.dumps(task))
        self.next_number += 1
        return self.next_number - 1

    def tasks(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """What process 0 hands out, each with its number, until it is done."""
        number = 0
        while True:
            if self.store.check([f"task/{number}"]):
                yield number, json.loads(self.store.get(f"task/{number}"))
                number += 1
            elif self.has_ended():
                return
            else:
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def ready(self, number: int) -> None:
        """Say that this process can begin with a task."""
        self.store.set(f"ready/{number}/{self.place.rank}", "")

    def wait_until_ready(self, number: int) -> None:
        """Wait until all others can begin with a task. Raises as `check`."""
        while not self.store.check([f"ready/{number}/{rank}" for rank in self.others]):
            self.pause()

    def pause(self) -> None:
        """Wait a moment for the others, by process 0. Raises as `check`."""
        self.check()
        time.sleep(_SECONDS_BETWEEN_LOOKS)

    def check(self) -> None:
        """Raise what another process gave up for, if one has, or WorkerError if one is gone."""
        if (error := self.error_of_another()) is not None:
            raise error
        now = time.monotonic()
        for rank in self.others:
            alive = self.count(f"alive/{rank}", 0)
            before, since = self._alive.get(rank, (-1, now))
            self._alive[rank] = (alive, since if alive == before else now)
            if now - self._alive[rank][1] > _SECONDS_TO_LIVE:
                raise self._lost(f"process {rank} says nothing for {_SECONDS_TO_LIVE:.0f} s")

    def live(self) -> None:
        """From now on show that this process lives, by another than process 0."""

        def show() -> None:
            with suppress(RuntimeError):
                while True:
                    self.count(f"alive/{self.place.rank}", 1)
                    time.sleep(SECONDS_BETWEEN_SIGNS)

        Thread(target=show, daemon=True).start()

    def count(self, name: str, more: int) -> int:
        """Add to a number that all processes share; returns what it then is."""
        return int(self.store.add(name, more))

    def post(self, channel: str, text: str) -> None:
        """Leave a text for process 0."""
        self.store.set(f"{channel}/{self.count(channel, 1)}", text)

    def posted(self, channel: str, num_heard: int) -> list[str]:
        """The texts of a channel, after the first `num_heard`."""
        return [self.store.get(f"{channel}/{i}").decode() for i in range(num_heard + 1, self.count(channel, 0) + 1)]

    def end(self) -> None:
        """Let the others end, by process 0, and give them a moment to hear of it: this process may keep the store.

        One that waits in torch for this process does not hear of it.
        """
        last = time.monotonic() + _SECONDS_TO_LEAVE
        with suppress(RuntimeError):  # the store is gone, and with it the others
            self.store.set("end", "")
            while not self.store.check([f"left/{rank}" for rank in self.others]) and time.monotonic() < last:
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    @property
    def is_over(self) -> bool:
        """Whether process 0 is at its end, or gone."""
        try:
            return bool(self.store.check(["end"]))
        except RuntimeError:
            return True

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether process 0 is done, or is so `within` some seconds."""
        last = time.monotonic() + within
        with suppress(RuntimeError):
            while not (ended := self.store.check(["end"])) and time.monotonic() < last:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            if ended:
                self.store.set(f"left/{self.place.rank}", "")
            return bool(ended)
        return False

    def give_up(self, error: BaseException) -> None:
        """Tell process 0 why this one cannot go on."""
        kind = "MemoryError" if tells_of_memory(error) else type(error).__name__
        text = str(error) if isinstance(error, G2isError) else first_line(error)
        self.store.set(f"error/{self.place.rank}", json.dumps({"kind": kind, "text": text}))

    def error_of_another(self, within: float = 0.0) -> Exception | None:
        """Why another process gave up, if one has, or does `within` some seconds."""
        last = time.monotonic() + within
        with suppress(RuntimeError):
            while True:
                for rank in self.others:
                    if self.store.check([f"error/{rank}"]):
                        return self._error(rank)
                if time.monotonic() >= last:
                    break
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        return None

    def cause_of(self, error: BaseException) -> BaseException:
        """What is behind an `error` of this process: that of another which gave up or is gone, or itself."""
        broken = is_broken_connection(error)
        if not (broken or isinstance(error, KeyboardInterrupt)):
            return error
        given_up = self.error_of_another(within=_SECONDS_TO_HEAR if broken else 0.0)
        if given_up is not None or not broken:
            return given_up or error
        return self._lost(first_line(error))

    def _lost(self, how: str) -> WorkerError:
        return WorkerError(
            f"expected all {self.place.count} processes to go on together, found one gone: killed, out of memory, or"
            f" its machine lost ({how}). What was done is kept: the same command goes on from there"
        )

    def _error(self, rank: int) -> Exception:
        said = json.loads(self.store.get(f"error/{rank}"))
        if said["kind"] == "MemoryError":
            return MemoryError(f"process {rank}: {said['text']}")
        kind = getattr(errors, said["kind"], None)
        if isinstance(kind, type) and issubclass(kind, G2isError):
            return kind(f"{said['text']} (process {rank} of {self.place.count})")
        return WorkerError(
            f"expected all {self.place.count} processes to go on together, found that process {rank} ended with a bug"
            f" ({said['kind']}: {said['text']}), whose traceback it printed. What was done is kept"
        )


_team: Team | None = None


def team() -> Team | None:
    """The processes that this one works with; None if it works alone."""
    return _team


def num_processes() -> int:
    """How many processes work together."""
    return 1 if _team is None else _team.place.count


def let_others_end() -> None:
    """What follows is done by process 0 alone: the others, if there are any, end when they have done what they had."""
    if _team is not None:
        _team.store.set("end", "")


def check_alone(command: str) -> None:
    """Raise ConfigError if several processes were started for a command that is done in one."""
    if (count := num_processes()) > 1:
        raise ConfigError(
            f"{command}: expected one process, found {count} of torchrun or accelerate launch. Start it without them"
        )


def join(place: Place) -> Team:
    """Meet the other processes, and take the device of this one as `cuda`. Raises ConfigError without torch's means."""
    global _team
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # advice to programmers, from every process
    from torch import distributed as of_torch

    distributed: Any = of_torch  # whose names are not exported to type checkers

    if not (distributed.is_available() and distributed.is_gloo_available()):
        raise ConfigError(
            "expected a torch with torch.distributed and gloo, which several processes need, found one without. Start"
            " g2is without torchrun, or install another torch"
        )
    store, _, _ = next(distributed.rendezvous("env://", rank=place.rank, world_size=place.count))
    _team = Team(place, distributed.PrefixStore("g2is", store))
    take_device()
    return _team


def take_device() -> None:
    """Have `cuda` mean this process's own device in the calling thread, if it is one of several that have one each.

    Both torch and CUDA keep that for each thread, and a new one has the first device.
    """
    import torch

    if _team is not None and _team.place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(_team.place.local_rank)


def check_device(device: "torch.device") -> None:
    """Raise ConfigError if this process of several has no CUDA device of its own, and is to use one."""
    if _team is None or device.type == "cpu":
        return
    import torch

    if device.type != "cuda":
        raise ConfigError(
            f"execution.device: expected cpu or cuda for several processes, found {device.type}; start g2is without"
            " torchrun"
        )
    if (local_rank := _team.place.local_rank) >= (num_devices := torch.cuda.device_count()):
        raise ConfigError(
            f"expected a CUDA device for each process of a machine, found {num_devices} for at least {local_rank + 1}."
            f" Start {num_devices} with --nproc-per-node, or use --device cpu"
        )


@contextmanager
def process_group(team: Team, number: int, device: "torch.device") -> Iterator[None]:
    """Within this all processes, each at task `number`, can use torch's collectives: gloo, and nccl between GPUs."""
    from torch import distributed as of_torch

    distributed: Any = of_torch  # whose names are not exported to type checkers

    distributed.init_process_group(
        "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl",
        store=distributed.PrefixStore(f"group/{number}", team.store),
        rank=team.place.rank,
        world_size=team.place.count,
        timeout=_OTHERS_WAIT,
    )
    yield
    distributed.destroy_process_group()  # not after an error: it may wait for what never comes


def is_broken_connection(error: BaseException) -> bool:
    """Whether `error` says that another process could not be reached, in the words of torch, gloo or nccl."""
    if not isinstance(error, RuntimeError):
        return False
    from torch import distributed as of_torch

    distributed: Any = of_torch  # whose names are not exported to type checkers

    text = str(error).lower()
    return isinstance(error, distributed.DistError) or any(word in text for word in ("gloo/", "nccl", "tcpstore"))
