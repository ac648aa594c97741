"""The engine of worker processes: any death of one is made good, and what cannot be is told."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import forked
import pytest
from toy_worker import NUM_SHARDS, Failing, Plan, jobs_of, open_toy, shard_of, table_in, tokens_of

from g2is.engine.job import ShardJob
from g2is.engine.processes import FailedJobsError, Processes, open_processes
from g2is.errors import ModelError, StoreError, WorkerError


@dataclass
class Trial:
    """A run of processes over all shards: which were told to be stored, tokens told, notices."""

    store: Path
    stored: list[int] = field(default_factory=list)
    tokens: int = 0
    notices: list[str] = field(default_factory=list)

    def run(self, plan: Plan, num_processes: int = 2, seconds: float = 0.0) -> None:
        self.tries.mkdir(exist_ok=True)
        opens = [(partial(open_toy, self.store, plan, seconds), dict[str, str]())] * num_processes
        with open_processes(opens, self.notices.append) as processes:
            self.serve(processes)

    def serve(self, processes: Processes) -> None:
        for job in processes.run(self.jobs(), self.add):
            self.stored.append(job.number)
        table_in(self.store).sweep()  # as who planned does: one that was killed may have left a partial file

    def jobs(self) -> list[ShardJob]:
        return jobs_of(table_in(self.store), self.store)

    def add(self, num_tokens: int) -> None:
        self.tokens += num_tokens

    @property
    def tries(self) -> Path:
        return self.store.with_name(f"{self.store.name}-tries")

    def num_tries(self, number: int | None) -> int:
        return len(list(self.tries.glob(f"{number}-*")))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes that this process makes."""
    store = tmp_path_factory.mktemp("calm")
    table = table_in(store)
    for job in jobs_of(table, store):
        table.write(job.number, shard_of(job))
    return forked.stored_bytes(store)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path / "store")


def without(calm: dict[str, bytes], number: int) -> dict[str, bytes]:
    """The bytes of a store that lacks a shard."""
    gone = (f"markers/{number:06d}.json", f"key/c/{number}/0", f"rows/c/{number}/0")
    return {name: content for name, content in calm.items() if not name.endswith(gone)}


def test_processes_make_the_bytes_that_one_makes(trial: Trial, calm: dict[str, bytes]) -> None:
    num_tokens = sum(map(tokens_of, trial.jobs()))
    trial.run({}, 3)
    assert forked.stored_bytes(trial.store) == calm
    assert sorted(trial.stored) == list(range(NUM_SHARDS))
    assert trial.tokens == num_tokens
    assert trial.notices == ["every worker says this"]
    assert all(trial.num_tries(number) == 1 for number in range(NUM_SHARDS))


@pytest.mark.parametrize("how", ["kill", "bug"])
def test_what_fails_twice_is_made_the_third_time(trial: Trial, calm: dict[str, bytes], how: str) -> None:
    num_tokens = sum(map(tokens_of, trial.jobs()))
    trial.run({3: Failing(how, 2), 8: Failing(how, 1)})
    assert forked.stored_bytes(trial.store) == calm
    assert sorted(trial.stored) == list(range(NUM_SHARDS))
    assert trial.tokens == num_tokens  # those of tries that failed are taken back
    assert trial.num_tries(3) == 3
    if how == "kill":
        assert sum("killed by SIGKILL" in text for text in trial.notices) >= 1
    if how == "bug":
        assert any("ZeroDivisionError: of 3" in text and "fail_if_told" in text for text in trial.notices)


@pytest.mark.long
@pytest.mark.parametrize(("how", "num_processes"), [("kill", 1), ("kill", 2), ("error", 2), ("bug", 1)])
def test_a_shard_that_always_fails_is_given_up_and_named_when_all_others_are_stored(
    trial: Trial, calm: dict[str, bytes], how: str, num_processes: int
) -> None:
    with pytest.raises(FailedJobsError) as error:
        trial.run({0: Failing(how)}, num_processes)
    assert [job.number for job in error.value.reasons] == [0]
    reason = {"kill": "killed by SIGKILL", "error": "expected better of 0", "bug": "of 0"}[how]
    assert reason in next(iter(error.value.reasons.values()))
    assert trial.num_tries(0) == (1 if how == "error" else 3)  # what is the job's own is not tried in vain
    assert sorted(trial.stored) == list(range(1, NUM_SHARDS))
    table_in(trial.store).sweep()
    assert forked.stored_bytes(trial.store) == without(calm, 0)


@pytest.mark.long
def test_shards_beside_one_that_kills_are_not_given_up(trial: Trial) -> None:
    plan: Plan = {number: Failing("kill") for number in (2, 3, 7)}
    with pytest.raises(FailedJobsError) as error:
        trial.run(plan, 3, seconds=0.05)
    assert sorted(job.number for job in error.value.reasons) == [2, 3, 7]
    assert sorted(trial.stored) == [n for n in range(NUM_SHARDS) if n not in (2, 3, 7)]


@pytest.mark.long
@pytest.mark.parametrize("num_processes", [1, 2])
def test_processes_that_cannot_open_are_one_message_and_no_endless_loop(trial: Trial, num_processes: int) -> None:
    with pytest.raises(WorkerError, match=r"killed by SIGKILL"):
        trial.run({None: Failing("kill")}, num_processes)
    assert trial.num_tries(None) <= 3 * num_processes
    assert not trial.stored


def test_what_a_worker_says_of_itself_when_it_opens_is_the_message(trial: Trial) -> None:
    with pytest.raises(ModelError, match="expected better of None"):
        trial.run({None: Failing("error")})


def test_a_process_that_dies_as_it_opens_is_replaced(trial: Trial, calm: dict[str, bytes]) -> None:
    trial.run({None: Failing("kill", 2)})
    assert forked.stored_bytes(trial.store) == calm


@pytest.mark.long
def test_where_every_shard_fails_it_ends_soon(trial: Trial) -> None:
    with pytest.raises(WorkerError, match="one after the other ends before it has stored any"):
        trial.run({number: Failing("kill") for number in range(NUM_SHARDS)}, 1)
    assert sum(trial.num_tries(number) for number in range(NUM_SHARDS)) <= 6


def test_a_store_that_takes_nothing_ends_it_at_once(trial: Trial) -> None:
    with pytest.raises(StoreError, match="expected room"):
        trial.run({5: Failing("store")}, 1)
    assert trial.num_tries(5) == 1


def running(tries: Path) -> list[int]:
    """The processes that have opened and still run."""
    pids = {int(path.name.split("-")[2]) for path in tries.glob("None-*")}
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and "(zombie)" not in status(pid)]


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "(zombie)"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_slowly(store: Path) -> None:
    Trial(store).run({}, 2, seconds=0.3)


def test_workers_end_with_the_one_that_started_them_and_the_rest_is_made_anew(
    trial: Trial, calm: dict[str, bytes]
) -> None:
    parent = forked.start(run_slowly, trial.store)
    wait_until(lambda: len(list(trial.store.rglob("markers/*.json"))) >= 3)
    assert len(running(trial.tries)) == 2
    parent.kill()
    assert forked.ended(parent) == -signal.SIGKILL
    wait_until(lambda: not running(trial.tries))
    table_in(trial.store).sweep()
    stored = len(list(trial.store.rglob("markers/*.json")))
    assert stored < NUM_SHARDS
    trial.run({})
    assert len(trial.stored) == NUM_SHARDS - stored
    assert forked.stored_bytes(trial.store) == calm


def test_a_worker_that_is_killed_from_outside_is_replaced(trial: Trial, calm: dict[str, bytes]) -> None:
    parent = forked.start(run_slowly, trial.store)
    wait_until(lambda: len(list(trial.store.rglob("markers/*.json"))) >= 2)
    first = running(trial.tries)
    for number in (signal.SIGINT, signal.SIGTERM):  # the one that started it heeds these
        os.kill(first[0], number)
    os.kill(first[1], signal.SIGKILL)
    assert forked.ended(parent) == 0
    assert forked.stored_bytes(trial.store) == calm
    assert len({path.name.split("-")[2] for path in trial.tries.glob("None-*")}) == 3


def test_a_script_need_not_guard_its_first_lines(trial: Trial, calm: dict[str, bytes]) -> None:
    trial.tries.mkdir()
    script = trial.store.with_name("script.py")
    script.write_text(
        f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
        "from functools import partial; from pathlib import Path\n"
        "from toy_worker import open_toy, jobs_of, table_in\n"
        "from g2is.engine.processes import open_processes\n"
        f"store = Path({str(trial.store)!r})\n"
        "with open_processes([(partial(open_toy, store, {}, 0.0), {})] * 2, print) as processes:\n"
        "    print(len(list(processes.run(jobs_of(table_in(store), store), lambda n: None))))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*["every", "worker", "says", "this"], str(NUM_SHARDS)]
    assert forked.stored_bytes(trial.store) == calm
