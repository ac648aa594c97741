"""A comparison whose cells are made by two worker processes: the bytes of one process, whatever dies or fails."""

import os
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import failing_trials
import forked
import pytest
from ray_nodes import kill, nodes_here, wait_for
from ray_nodes import workers_of as workers_of_nodes

from faults.calm import contents, differences
from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = (
    *("tuning.learning_rate=2e-3", "tuning.lora.rank=4", "tuning.epochs=2", "tuning.batch_size=8"),
    *("execution.resume_steps=1", "execution.device=cpu", "evaluation.generate=false"),
)
_WHO = re.compile(rb'"?(workers|engine|address)"?: ("[^"]*"|[^\s,}]*)')  # settings in YAML and JSON
NUM_CELLS, NUM_TUNINGS = 10, 5  # of two targets, which share all but what bm25 selects

pytestmark = pytest.mark.slow


def command(folder: Path, *more: str) -> list[str]:
    targets = [f"--{flag}={name}={folder / name}.{flag}.jsonl" for name in "ab" for flag in ("target", "test")]
    flags = ["--methods", "bm25", "--budgets", "20%", "--seeds", "1"]
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    places = ["--model", str(MODEL), "--out", str(folder / "out")]
    return ["compare", str(folder / "pool.jsonl"), *targets, *places, *flags, *settings, *more]


def begun(folder: Path) -> Path:
    """A folder with the files of a comparison."""
    folder.mkdir()
    write_pool(folder / "pool.jsonl", num_rows=60)
    for number, name in enumerate("ab"):
        write_target(folder / f"{name}.target.jsonl", num_rows=4, seed=10 + number)
        write_target(folder / f"{name}.test.jsonl", num_rows=4, seed=20 + number)
    return folder


def made(folder: Path) -> dict[str, bytes]:
    """Every file of the comparison, without times, and without who made it."""
    return {name: _WHO.sub(rb"", content) for name, content in contents(folder).items()}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes."""
    folder = begun(tmp_path_factory.mktemp("compared") / "calm")
    forked.run(command(folder), folder.with_name("calm-errors"))
    found = made(folder)
    assert len(cells(folder)) == NUM_CELLS
    assert len(tuned(folder, "training.json")) == NUM_TUNINGS
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return begun(tmp_path / "place")


def cells(folder: Path) -> dict[str, int]:
    """When each cell was written, ns."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("out/cells/**/*.json")}


def tuned(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(f"out/tuned/*/{pattern}"))


def wait_until(holds: Callable[[], bool], process: BaseProcess, errors: Path) -> None:
    deadline = time.monotonic() + 200
    while not holds():
        assert process.is_alive(), errors.read_text()
        assert time.monotonic() < deadline, errors.read_text()
        time.sleep(0.005)


def workers_of(process: BaseProcess) -> list[int]:
    """The worker processes that a command has started."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in pids if b"g2is.engine.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def said(errors: Path) -> str:
    return " ".join(errors.read_text().split())


def in_the_midst(folder: Path) -> bool:
    """Whether a tuning is at work that has a point to go on from."""
    return bool(tuned(folder, "trainer/checkpoint-*/complete"))


@pytest.mark.long
def test_two_workers_one_of_which_is_killed_while_it_tunes_make_the_bytes_of_one_process(
    folder: Path, calm: dict[str, bytes]
) -> None:
    errors = folder.with_name("errors")
    process = forked.command(command(folder, "--workers", "2"), errors)
    wait_until(lambda: in_the_midst(folder), process, errors)
    workers = workers_of(process)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert forked.ended(process) == 0, errors.read_text()
    assert "killed by SIGKILL" in said(errors)
    assert "while it made cell " in said(errors)
    assert not differences(made(folder), calm)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


@pytest.mark.long
@pytest.mark.parametrize("how", ["error", "kill"])
def test_a_cell_that_fails_three_times_is_named_and_made_alone_when_the_command_is_given_again(
    how: str, folder: Path, calm: dict[str, bytes]
) -> None:
    errors, tries = folder.with_name("errors"), folder.with_name("tries")
    arguments = command(folder, "--workers", "2")
    process = forked.start(failing_trials.command_that_fails, arguments, errors, "bm25 on a", how, tries)
    assert forked.ended(process) == 2, errors.read_text()
    reason = {"error": "expected a better tuning", "kill": "the process that made it ended (killed by SIGKILL)"}[how]
    assert "found 1 that cannot be" in said(errors)
    assert said(errors).endswith(f"bm25 on a at 20%, seed 0: {reason}"), said(errors)
    assert "Traceback" not in said(errors)
    assert len(tries.read_text().splitlines()) == {"error": 1, "kill": 3}[how]
    before = cells(folder)
    assert len(before) == NUM_CELLS - 1
    assert not any("bm25/a/" in name for name in before)
    forked.run(command(folder, "--workers", "2"), errors)
    assert {name: when for name, when in cells(folder).items() if name in before} == before
    assert "tune and test" not in said(errors), "one cell needs no process of its own"
    assert not differences(made(folder), calm)


@pytest.mark.long
def test_a_killed_command_takes_its_workers_along_and_goes_on(folder: Path, calm: dict[str, bytes]) -> None:
    errors = folder.with_name("errors")
    process = forked.command(command(folder, "--workers", "2"), errors)
    wait_until(lambda: len(cells(folder)) >= 4 and in_the_midst(folder), process, errors)
    workers, before = workers_of(process), cells(folder)
    assert len(workers) == 2
    process.kill()
    assert forked.ended(process) == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(cells(folder)) < NUM_CELLS
    forked.run(command(folder, "--workers", "2"), errors)
    assert {name: when for name, when in cells(folder).items() if name in before} == before
    assert not differences(made(folder), calm)


@pytest.mark.long
def test_a_cluster_that_loses_a_worker_makes_the_bytes_of_one_process(folder: Path, calm: dict[str, bytes]) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'g2is[ray]'")
    errors = folder.with_name("errors")
    with nodes_here() as nodes:
        on_cluster = ["--engine", "ray", "--address", nodes.address, "--workers", "2"]
        process = forked.command(command(folder, *on_cluster), errors)
        wait_until(lambda: in_the_midst(folder), process, errors)
        kill(workers_of_nodes(nodes)[0])
        assert forked.ended(process) == 0, errors.read_text()
        wait_for(lambda: not workers_of_nodes(nodes))
    assert "ended while it was at work" in said(errors)
    assert not differences(made(folder), calm)
