"""The engine on Ray alone, with a worker that takes no time to start: what is made, how often and by whom."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_nodes import PATHS, Nodes, kill, nodes_here, wait_for, workers_of, workers_on

from g2is.engine.processes import FailedJobsError

pytest.importorskip("ray", reason="ray is not installed: pip install 'g2is[ray]'")
from ray_worker import BAD, DEADLY, make_files  # after the skip: with ray alone is it of use

pytestmark = [pytest.mark.slow, pytest.mark.long]  # `make test` does it with a real model: test_ray.py

NUM_SHARDS = 24


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with nodes_here() as nodes:
        yield nodes


def log(store: Path) -> list[tuple[int, int, int]]:
    """Shards whose making was begun, with process and raylet."""
    lines = (store / "log").read_text().splitlines() if (store / "log").exists() else []
    return [(int(number), int(pid), int(raylet)) for number, pid, raylet in map(str.split, lines)]


def made(store: Path) -> set[int]:
    return {int(path.stem) for path in store.glob("*.made")}


def start(nodes: Nodes, store: Path, num_workers: int, seconds: float) -> "subprocess.Popen[str]":
    """The command, in a process of its own."""
    program = (
        "import sys; from pathlib import Path; from ray_worker import make_files;"
        f"told = make_files({nodes.address!r}, Path({str(store)!r}), {NUM_SHARDS}, {num_workers}, {seconds}, False,"
        " lambda text: print('NOTE', text, flush=True)); print('TOKENS', sum(told))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-c", program], text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_shards_in_hand_are_made_again_and_no_others(nodes: Nodes, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = start(nodes, store, 3, 1.0)
    wait_for(lambda: len(made(store)) >= 3 or command.poll() is not None)
    first, second = nodes.cluster.worker_nodes
    (killed,) = workers_on(first)
    kill(killed)
    nodes.remove(second)
    late = nodes.add()
    output, _ = command.communicate(timeout=240)
    assert command.returncode == 0, output
    assert made(store) == set(range(NUM_SHARDS))
    begun = Counter(number for number, _, _ in log(store))
    again = {number for number, times in begun.items() if times > 1}
    assert 1 <= len(again) <= 2, begun  # that of the worker and that of the node
    assert max(begun.values()) == 2
    raylets = {raylet for _, _, raylet in log(store)}
    assert late.all_processes["raylet"][0].process.pid in raylets, "a node that joins late is used"
    assert f"TOKENS {2 * NUM_SHARDS}" in output, output
    assert output.count("NOTE files are made") == 1, output
    assert "raylet" not in output


def test_a_killed_command_takes_its_actors_along_and_goes_on(nodes: Nodes, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = start(nodes, store, 2, 0.5)
    wait_for(lambda: len(made(store)) >= 4 or command.poll() is not None)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    wait_for(lambda: not workers_of(nodes))
    before = made(store)
    assert 4 <= len(before) < NUM_SHARDS
    num_begun = len(log(store))
    output, _ = start(nodes, store, 2, 0.05).communicate(timeout=240)
    assert made(store) == set(range(NUM_SHARDS)), output
    assert not before & {number for number, _, _ in log(store)[num_begun:]}
    wait_for(lambda: not workers_of(nodes))


def test_shards_that_always_fail_or_end_their_worker_are_given_up_and_the_rest_is_made(
    nodes: Nodes, tmp_path: Path
) -> None:
    store, notes = tmp_path / "store", list[str]()
    with pytest.raises(FailedJobsError) as raised:
        make_files(nodes.address, store, 10, 2, 0.02, True, notes.append)
    assert {job.number: reason for job, reason in raised.value.reasons.items()} == {
        BAD: "row 6 is bad",
        DEADLY: "the worker that made it ended",
    }
    assert made(store) == set(range(10)) - {BAD, DEADLY}
    begun = Counter(number for number, _, _ in log(store))
    assert (begun[BAD], begun[DEADLY]) == (1, 3)  # what is the row's own is not tried in vain
    assert len(notes) == len(set(notes))
