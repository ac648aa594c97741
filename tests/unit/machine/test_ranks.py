"""Which of several processes this one is, and what they tell each other."""

import os
from threading import current_thread
from typing import Any

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from g2is.errors import ConfigError, ModelError, WorkerError
from g2is.jobs.worker import TableWorker
from g2is.machine import ranks
from g2is.machine.places import Place, alone, place_in, starts_one_of_several
from g2is.machine.ranks import Team

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"},  # --nproc-per-node 1
        {"RANK": "3", "WORLD_SIZE": "8"},  # of a scheduler, with no place to meet
        {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500", "ACCELERATE_MIXED_PRECISION": "no"},
    ],
)
def test_a_process_works_alone_unless_a_launcher_started_several_that_can_meet(environment: dict[str, str]) -> None:
    assert place_in(environment) is None


def test_the_launcher_gives_the_place() -> None:
    assert place_in({**TORCHRUN, "ACCELERATE_DYNAMO_BACKEND": "NO"}) == Place(rank=3, count=8, local_rank=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "three"}, "RANK: expected a whole number, as torchrun sets it, found 'three'"),
        ({"RANK": "-1"}, "RANK: expected a whole number"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE: expected a whole number"),
        ({"RANK": "8"}, "RANK: expected a number below WORLD_SIZE, which is 8, found 8"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "ACCELERATE_MIXED_PRECISION: expected accelerate launch to start"),
        ({"ACCELERATE_USE_FSDP": "true"}, "ACCELERATE_USE_FSDP: expected accelerate launch"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "ACCELERATE_DYNAMO_BACKEND: expected accelerate launch"),
    ],
)
def test_what_cannot_be_heeded_is_refused(change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        place_in({**TORCHRUN, **change})


@pytest.mark.parametrize("lacking", ["LOCAL_RANK", "MASTER_PORT"])
def test_half_a_place_is_refused(lacking: str) -> None:
    with pytest.raises(ConfigError, match=f"found no {lacking}"):
        place_in({name: value for name, value in TORCHRUN.items() if name != lacking})


def test_accelerate_s_launch_on_a_cpu_starts_one_process_of_those_it_speaks_of() -> None:
    assert starts_one_of_several({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})
    assert not starts_one_of_several(TORCHRUN)
    assert not starts_one_of_several({"MASTER_ADDR": "127.0.0.1", "OMPI_COMM_WORLD_SIZE": "2"})
    assert not starts_one_of_several({"MASTER_ADDR": "node1", "SLURM_STEP_ID": "0"})
    assert not starts_one_of_several({})


def test_a_training_alone_is_told_of_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with alone():
        assert not TORCHRUN.keys() & os.environ.keys()
    assert TORCHRUN.items() <= os.environ.items()


def teams(count: int) -> list[Team]:
    store = HashStore()
    return [Team(Place(rank, count, rank), store) for rank in range(count)]


@pytest.mark.slow
def test_what_is_handed_out_comes_to_all_in_order_until_the_end() -> None:
    first, *others = teams(3)
    assert [first.hand_out({"do": name}) for name in ("this", "that")] == [0, 1]
    first.end()
    for other in others:
        assert list(other.tasks()) == [(0, {"do": "this"}), (1, {"do": "that"})]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ModelError("expected a, found b"), ModelError, r"^expected a, found b \(process 2 of 3\)$"),
        (MemoryError("no more"), MemoryError, "process 2: no more"),
        (KeyError("x"), WorkerError, r"process 2 ended with a bug \(KeyError: there is no 'x'\)"),
        (SystemExit("x"), WorkerError, r"process 2 ended with a bug \(SystemExit: x\)"),
    ],
)
def test_the_first_raises_what_another_gave_up_for(error: BaseException, kind: type[Exception], message: str) -> None:
    first, _, other = teams(3)
    first.check()
    other.give_up(error)
    with pytest.raises(kind, match=message):
        first.pause()


def test_one_that_gives_no_sign_of_life_any_more_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_SECONDS_TO_LIVE", 10.0)
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    first, other = teams(2)
    for _ in range(5):
        other.count("alive/1", 1)
        first.check()
        now += 9.0
    now += 9.0
    with pytest.raises(WorkerError, match="process 1 says nothing for 10 s"):
        first.check()


def test_what_broke_a_connection_is_asked_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "_SECONDS_TO_HEAR", 0.2)
    first, other = teams(2)
    broken = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:44969.")
    mine = ModelError("mine")
    assert first.cause_of(mine) is mine
    assert "found one gone" in str(first.cause_of(broken))
    other.give_up(ModelError("theirs"))
    assert str(first.cause_of(broken)) == "theirs (process 1 of 2)"
    assert first.cause_of(mine) is mine


def test_each_thread_takes_the_device_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, int]] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.set_device", lambda number: taken.append((current_thread().name, number)))
    ranks.take_device()  # of a process that works alone, whose is the first
    assert not taken
    monkeypatch.setattr(ranks, "_team", Team(Place(rank=6, count=8, local_rank=2), HashStore()))
    ranks.take_device()
    nothing: Any = None
    TableWorker(nothing, nothing, pytest.fail, None)._computing.submit(lambda: None).result()
    assert taken == [("MainThread", 2), ("g2is shard_0", 2)]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)  # `check_device` tells of it
    ranks.take_device()
    assert len(taken) == 2
