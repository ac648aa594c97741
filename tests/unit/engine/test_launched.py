"""Shards made by the processes of a launcher: here threads that talk through a store as those do."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Event

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from g2is.engine.job import ShardJob
from g2is.engine.launched import LaunchedEngine, make_beside, stop_others
from g2is.engine.worker import Worker
from g2is.errors import ModelError
from g2is.machine.places import Place
from g2is.machine.ranks import Team

JOBS = [ShardJob("/store", "gradients", "pool", "f", ("epoch-1",), ("less",), number, (number,)) for number in range(9)]


class Begun:
    """Keeps whoever makes a job until all have one in hand: else a fast one would leave the others none."""

    def __init__(self, count: int) -> None:
        self._count, self._names, self._changed = count, set[str](), Condition()

    def wait(self, name: str) -> None:
        with self._changed:
            self._names.add(name)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: len(self._names) == self._count, timeout=30)


class Here:
    """Makes every job that it is given in process 0."""

    def __init__(self, begun: Begun) -> None:
        self.begun, self.made = begun, list[int]()

    def run(self, jobs: Iterable[ShardJob]) -> Iterator[ShardJob]:
        for job in jobs:
            self.begun.wait("here")
            self.made.append(job.number)
            yield job


class There:
    """Makes jobs in another process, or raises `error`."""

    def __init__(self, begun: Begun, name: str, error: Exception | None = None) -> None:
        self.begun, self.name, self.error, self.made = begun, name, error, list[int]()

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        self.begun.wait(self.name)
        if self.error is not None:
            raise self.error
        self.made.append(job.number)
        add(10)


def serve(team: Team, worker: Worker[ShardJob]) -> None:
    try:
        for number, task in team.tasks():
            make_beside(team, number, task, worker)
    except Exception as error:
        team.give_up(error)


def test_each_job_is_made_once_by_whoever_asks_next_and_tokens_of_the_others_are_told() -> None:
    store, begun = HashStore(), Begun(3)
    team, *others = (Team(Place(rank, 3, rank), store) for rank in range(3))
    here, there = Here(begun), [There(begun, "there"), There(begun, "and there")]
    told: list[int] = []
    with ThreadPoolExecutor(2) as threads:
        for of in zip(others, there, strict=True):
            threads.submit(serve, *of)
        try:
            for _ in range(2):  # one task after the other
                done = [job.number for job in LaunchedEngine(team, here, {"config": "{}"}, told.append).run(JOBS)]
                assert sorted(done) == list(range(9))
        finally:
            team.end()
    made = [*here.made, *there[0].made, *there[1].made]
    assert sorted(made) == sorted([*range(9), *range(9)])
    assert here.made
    assert there[0].made
    assert there[1].made
    assert sum(told) == 10 * (18 - len(here.made))


@pytest.mark.slow
def test_what_another_cannot_do_is_raised() -> None:
    store, begun = HashStore(), Begun(2)
    team, other = (Team(Place(rank, 2, rank), store) for rank in range(2))
    with ThreadPoolExecutor(1) as threads:
        threads.submit(serve, other, There(begun, "there", ModelError("expected more memory")))
        engine = LaunchedEngine(team, Here(begun), {}, lambda _: None)
        with pytest.raises(ModelError, match=r"expected more memory \(process 1 of 2\)"):
            list(engine.run(JOBS))
        team.end()


class Slow:
    """Makes a shard for half a minute, unless it is told that nobody wants it any more."""

    def __init__(self) -> None:
        self.begun, self.made, self.at_work = Event(), False, False

    def make(self, job: ShardJob, add: Callable[[int], None]) -> None:
        self.at_work = True
        self.begun.set()
        try:
            for _ in range(3_000):
                add(1)
                time.sleep(0.01)
            self.made = True
        finally:
            self.at_work = False


def one_job(team: Team) -> int:
    team.store.set(f"jobs/{team.next_number}/0", JOBS[0].to_json())
    return team.hand_out({"do": "shards", "num_jobs": 1})


def test_no_shard_is_finished_once_process_0_is_at_its_end() -> None:
    store, slow = HashStore(), Slow()
    team, other = (Team(Place(rank, 2, rank), store) for rank in range(2))
    number = one_job(team)
    with ThreadPoolExecutor(1) as threads:
        served = threads.submit(serve, other, slow)
        assert slow.begun.wait(30)
        stop_others(team)
        assert not slow.at_work  # so process 0 may let go of the store
        served.result(10)
    assert not slow.made
    assert not team.posted(f"stored/{number}", 0)


def test_no_shard_is_finished_once_its_process_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    store, slow = HashStore(), Slow()
    team, other = (Team(Place(rank, 2, rank), store) for rank in range(2))
    number = one_job(team)

    def stopped(future: object) -> None:  # noqa: ARG001
        """A signal comes to the thread that waits for those at work."""
        assert slow.begun.wait(30)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", stopped)
    with pytest.raises(KeyboardInterrupt):
        make_beside(other, number, {"num_jobs": 1}, slow)
    assert not slow.made
    assert not team.posted(f"stored/{number}", 0)
