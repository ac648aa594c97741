"""A run on a Ray cluster loses workers, nodes and its own process, and ends in the bytes of the local engine."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
import pytest
from ray_nodes import MARKED, Nodes, kill, nodes_here, shapeless_where_marked, wait_for, workers_of, workers_on
from ray_runs import NUM_SHARDS, gradients, make_calm, markers, on, other_files, run_until
from small_run import MODEL

from g2is.config import Config
from g2is.config.io import parse
from g2is.errors import WorkerError
from g2is.jobs.custom import Own
from g2is.jobs.select import run
from g2is.representations.own import Representation

pytest.importorskip("ray", reason="ray is not installed: pip install 'g2is[ray]'")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with nodes_here() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, and the store that nobody disturbed."""
    folder = tmp_path_factory.mktemp("ray")
    make_calm(folder)
    return folder


@pytest.mark.long
def test_a_worker_and_a_node_are_lost_and_another_node_joins_late(folder: Path, nodes: Nodes) -> None:
    errors = folder / "lost-errors"
    process = forked.command(gradients(folder, "lost", *on(nodes, "--workers", "3")), errors)
    wait_for(lambda: markers(folder, "lost") or not process.is_alive())
    first, second = nodes.cluster.worker_nodes
    (killed,) = workers_on(first)
    kill(killed)
    nodes.remove(second)  # nobody works now, until Ray has started one again
    before = markers(folder, "lost")
    late = nodes.add()
    wait_for(lambda: workers_on(late))
    wait_for(lambda: not process.is_alive())
    assert forked.ended(process) == 0, errors.read_text()
    assert other_files(folder, "lost") == []
    assert 1 <= len(before) < NUM_SHARDS, "too fast or too slow to lose anything"
    assert markers(folder, "lost").items() >= before.items(), "what was stored is not made again"
    said = errors.read_text()
    assert said.replace("\n", " ").count("ended while it was at work") == 1, said  # notices are given once
    assert "raylet" not in said
    assert "Traceback" not in said
    wait_for(lambda: not workers_of(nodes))


def test_the_command_is_killed_then_stopped_and_goes_on(folder: Path, nodes: Nodes) -> None:
    arguments, errors = gradients(folder, "killed", *on(nodes)), folder / "killed-errors"
    disturbed = [*arguments, "--workers", "1"]  # each imports torch anew; the last has all

    def has(num_shards: int) -> Callable[[], bool]:
        return lambda: len(markers(folder, "killed")) >= num_shards

    assert run_until(disturbed, errors, has(3), signal.SIGKILL) == -signal.SIGKILL
    wait_for(lambda: not workers_of(nodes))
    when_killed = markers(folder, "killed")
    assert 3 <= len(when_killed) < NUM_SHARDS
    assert run_until(disturbed, errors, has(len(when_killed) + 3), signal.SIGTERM) == 128 + signal.SIGTERM
    assert "stopped; what is done is kept" in errors.read_text()
    wait_for(lambda: not workers_of(nodes))
    when_stopped = markers(folder, "killed")
    assert when_killed.items() <= when_stopped.items()
    assert len(when_stopped) < NUM_SHARDS
    forked.run(arguments, errors)
    assert other_files(folder, "killed") == []
    assert when_stopped.items() <= markers(folder, "killed").items(), "what was stored is not made again"


def test_a_shard_that_fails_three_times_is_told_by_its_rows_and_the_rest_is_made(folder: Path, nodes: Nodes) -> None:
    lines = (folder / "pool.jsonl").read_text().splitlines()[:20]
    row = {"messages": [{"role": "user", "content": MARKED}, {"role": "assistant", "content": "yes"}], "id": "poison"}
    (folder / "marked.jsonl").write_text("\n".join([*lines, json.dumps(row)]) + "\n")
    values = {
        "pool": str(folder / "marked.jsonl"),
        "targets": {"target": str(folder / "target.jsonl")},
        "out": str(folder / "marked"),
        "model": {"name": str(MODEL)},
        "selection": {"method": "less", "representation": "own:length", "form": None, "budget": "3"},
        "execution": {"device": "cpu", "shard_rows": 4, "engine": "ray", "address": nodes.address, "workers": 2},
    }
    config: Config = parse(Config, values, "a test")
    own = Own(representation=Representation("length", 1, shapeless_where_marked))
    with pytest.raises(WorkerError, match=r"shard 5 of the pool, rows poison: representation length: expected"):
        run(config, "export", own=own)
    stored = (folder / "marked/store/length/pool/markers").glob("*.json")
    assert [path.name for path in sorted(stored)] == [f"{number:06d}.json" for number in range(5)]
    assert (folder / "marked/store/length/pool/plan.npz").exists(), "what is left is still planned"
