"""Worker processes and static parts of a plan, by the commands: the bytes of one process, whatever dies."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked
import poison
import pytest
from small_run import MODEL, SMALL, set_flags

import g2is
from g2is.demo.skills import write_pool, write_target
from g2is.errors import WorkerError
from g2is.store.lock import locked
from g2is.store.plan import PLAN

NUM_SHARDS = 7


def arguments(folder: Path, store: str, command: str = "gradients") -> list[str]:
    settings = SMALL | {"execution.shard_rows": "32", "execution.device": "cpu"}
    files = [str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL)]
    places = ["--out", str(folder / f"{store}-run"), "--store", str(folder / store)]
    return [command, *files, *places, *set_flags(settings)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool and a target, the store `begun` with its warm-up, and the store `calm` with all rows by one process."""
    folder = tmp_path_factory.mktemp("workers")
    write_pool(folder / "pool.jsonl", num_rows=200)
    write_target(folder / "target.jsonl", num_rows=12)
    forked.run(arguments(folder, "begun", "warmup"), folder / "errors")
    shutil.copytree(folder / "begun", folder / "calm")
    forked.run(arguments(folder, "calm"), folder / "errors")
    assert len(markers(folder / "calm")) == NUM_SHARDS + 1
    return folder


@pytest.fixture(scope="module")
def calm(folder: Path) -> dict[str, bytes]:
    return forked.stored_bytes(folder / "calm")


@pytest.fixture
def store(folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A store that has nothing but its warm-up."""
    store = folder / request.node.name.replace("[", "-").rstrip("]")
    shutil.copytree(folder / "begun", store)
    yield store
    shutil.rmtree(store)


def markers(store: Path) -> dict[str, int]:
    """When each shard was stored, ns."""
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.glob("gradients/*/markers/*.json")}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(process: BaseProcess) -> list[int]:
    """The worker processes that a command has started."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in pids if b"g2is.engine.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
def test_two_workers_one_of_which_is_killed_make_the_same_bytes(
    folder: Path, store: Path, calm: dict[str, bytes]
) -> None:
    errors = folder / "errors"
    command = forked.command([*arguments(folder, store.name), "--workers", "2"], errors)
    wait_until(lambda: any("pool" in name for name in markers(store)))
    workers = workers_of(command)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert forked.ended(command) == 0, errors.read_text()
    assert "killed by SIGKILL" in " ".join(errors.read_text().split())  # wherever lines are broken
    assert forked.stored_bytes(store) == calm
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_command_leaves_no_workers_and_goes_on_to_the_same_bytes(
    folder: Path, store: Path, calm: dict[str, bytes], number: signal.Signals
) -> None:
    errors = folder / "errors"
    command = forked.command([*arguments(folder, store.name), "--workers", "2"], errors)
    wait_until(lambda: any("pool" in name for name in markers(store)))
    workers = workers_of(command)
    assert len(workers) == 2
    assert command.pid is not None
    os.kill(command.pid, number)
    assert forked.ended(command) == (-9 if number == signal.SIGKILL else 128 + number)
    if number == signal.SIGTERM:
        assert errors.read_text().count("stopped; what is done is kept") == 1
        assert "Traceback" not in errors.read_text()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    before = markers(store)
    assert len(before) < NUM_SHARDS + 1
    forked.run(arguments(folder, store.name), errors)
    assert forked.stored_bytes(store) == calm
    assert {name: markers(store)[name] for name in before} == before  # nothing twice


@pytest.mark.slow
def test_parts_in_any_order_and_twice_at_once_make_each_shard_once_and_the_same_bytes(
    folder: Path, store: Path, calm: dict[str, bytes]
) -> None:
    errors = folder / "errors"

    def part(text: str, log: Path = errors) -> BaseProcess:
        return forked.command([*arguments(folder, store.name), "--worker", text], log)

    assert forked.ended(part("3/3")) == 0, errors.read_text()
    of_third = markers(store)
    assert {name for name in of_third if "pool" in name} == {f"gradients/pool/markers/{n:06d}.json" for n in (2, 5)}
    twice = [part("1/3", folder / "one"), part("1/3", folder / "two")]
    assert [forked.ended(process) for process in twice] == [0, 0], (folder / "one").read_text()
    assert {name: markers(store)[name] for name in of_third} == of_third
    assert len(markers(store)) == 2 + 3 + 1
    forked.run([*arguments(folder, store.name, "select"), "--budget", "10%"], errors)  # makes what 2/3 did not
    found = forked.stored_bytes(store)
    assert found == calm
    assert {name: markers(store)[name] for name in of_third} == of_third


@pytest.mark.slow
def test_parts_of_a_store_that_holds_rows_but_lacks_some_do_not_keep_each_other_from_planning(folder: Path) -> None:
    store, larger = folder / "grown", folder / "grown.jsonl"
    shutil.copytree(folder / "calm", store)
    write_pool(folder / "more.jsonl", num_rows=40, seed=1)
    more = [{**json.loads(line), "id": f"more-{n}"} for n, line in enumerate((folder / "more.jsonl").open())]
    larger.write_text((folder / "pool.jsonl").read_text() + "".join(json.dumps(row) + "\n" for row in more))
    flags = [str(larger) if flag.endswith("pool.jsonl") else flag for flag in arguments(folder, store.name)]
    logs = [folder / f"part-{number}" for number in (1, 2, 3)]
    parts = [forked.command([*flags, "--worker", f"{n}/3"], log) for n, log in enumerate(logs, 1)]
    assert [forked.ended(part) for part in parts] == [0, 0, 0], [log.read_text() for log in logs]
    assert len(markers(store)) == NUM_SHARDS + 1 + 2  # 40 rows in shards of 32


@pytest.mark.slow
def test_a_part_that_waits_for_its_store_looks_at_the_model_once(folder: Path, store: Path) -> None:
    errors = folder / "waits"
    with locked(store, "store"):
        part = forked.command([*arguments(folder, store.name), "--worker", "8/8"], errors)
        wait_until(lambda: errors.exists() and "in use by another" in errors.read_text())
        time.sleep(4)
        assert errors.read_text().count("check model") == 1
    assert forked.ended(part) == 0, errors.read_text()


@pytest.mark.long
@pytest.mark.slow
def test_a_task_of_srun_makes_its_part_while_nobody_else_may_have_the_store_alone(folder: Path, store: Path) -> None:
    forked.run([*arguments(folder, store.name), "--worker", "7/8"], folder / "errors")  # makes the plan
    assert (store / "gradients/pool" / PLAN).exists()
    errors = folder / "slurm"
    task = forked.start(as_task, {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, arguments(folder, store.name), errors)
    wait_until(lambda: "worker 2/2" in (errors.read_text() if errors.exists() else ""))
    wait_until(lambda: any("pool/markers/000001" in name for name in markers(store)))
    other = folder / "other"
    alone = forked.command(arguments(folder, store.name), other)
    assert forked.ended(alone) == 2
    assert "this store is in use by another g2is process (g2is gradients" in " ".join(other.read_text().split())
    assert forked.ended(task) == 0, errors.read_text()
    assert {name for name in markers(store) if "pool" in name} == {
        f"gradients/pool/markers/{number:06d}.json" for number in (1, 3, 5, 6)
    }


def as_task(environment: dict[str, str], flags: list[str], errors: Path) -> None:
    os.environ.update(environment)
    forked.command_here(flags, errors)


@pytest.mark.long
@pytest.mark.slow
def test_rows_that_end_each_worker_are_named_and_all_others_stored(tmp_path: Path) -> None:
    rows = [{"id": f"row-{i}", "prompt": "POISON" if i == 9 else f"question {i}", "completion": "a"} for i in range(40)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_target(tmp_path / "target.jsonl", num_rows=5)
    with pytest.raises(WorkerError, match=r"shard 2 of the pool, rows row-8, row-9, row-10, row-11: .*SIGKILL"):
        g2is.select(
            pool=tmp_path / "pool.jsonl",
            target=tmp_path / "target.jsonl",
            model=MODEL,
            out=tmp_path / "run",
            budget="5",
            representation=g2is.Representation("lengths", 1, poison.lengths),
            selection={"representation": "own:lengths", "selector": "top"},
            execution={"shard_rows": 4, "workers": 2, "device": "cpu"},
        )
    stored = sorted(path.name for path in tmp_path.glob("run/store/lengths/pool/markers/*.json"))
    assert stored == [f"{number:06d}.json" for number in range(10) if number != 2]
