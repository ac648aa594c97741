"""What a run on a Ray cluster loses when a worker, a node or the command itself is lost, and whether it ends the same.

    PYTHONPATH=src:benchmarks python -m faults.cluster [--times 3]                               (with g2is[ray])

A cluster of several nodes on this machine, of which each has room for one worker; the gradients of 800 rows, in 25
shards. Each fault comes once a shard is stored, and where it ended the command, the same command is given again. Tells
the shards stored before, how many of these were made again, the work that was dealt a second time, and whether the
store has the bytes of the undisturbed run in one process. Writes benchmarks/results/scale_faults.json. Exit code 1 if
other bytes came out, or a stored shard was made again. tests/faults/test_ray.py has such faults as tests.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import forked
from ray_nodes import Nodes, kill, nodes_here, wait_for, workers_of, workers_on
from ray_runs import NUM_SHARDS, gradients, make_calm, markers, on, other_files, run_until

from common.places import RESULTS
from g2is.machine.environment import environment

_DEALT_AGAIN = "ended while it was at work"  # what is said of a worker whose shard another one gets


@dataclass(frozen=True)
class Lost:
    """What came of one fault: shards stored before it and made again, jobs dealt a second time, files that differ."""

    fault: str
    stored_before: int
    made_again: int
    dealt_again: int
    other_files: int


def main() -> None:
    """Try each fault some times, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    found: list[Lost] = []
    with tempfile.TemporaryDirectory() as place, nodes_here() as nodes:
        folder = Path(place)
        make_calm(folder)
        for time in range(given.times):
            for fault, disturb in FAULTS.items():
                wait_for(lambda: not workers_of(nodes))
                while nodes.num_places() < 2:
                    nodes.add()
                lost = _lost(folder, nodes, f"{time}-{len(found)}", fault, disturb)
                print(lost, flush=True)
                found.append(lost)
    rows = [asdict(lost) for lost in found]
    result = {"shards": NUM_SHARDS, "environment": environment(), "rows": rows}
    (RESULTS / "scale_faults.json").write_text(json.dumps(result, indent=1) + "\n")
    for fault in FAULTS:
        of = [lost for lost in found if lost.fault == fault]
        same = sum(not lost.other_files for lost in of)
        print(f"{fault}: {same} of {len(of)} the same bytes, {sum(lost.made_again for lost in of)} stored made again")
    if any(lost.other_files or lost.made_again for lost in found):
        sys.exit(1)


def _lost(folder: Path, nodes: Nodes, name: str, fault: str, disturb: "Disturb") -> Lost:
    errors = folder / f"{name}-errors"
    before = disturb(folder, nodes, name, errors)
    after = markers(folder, name)
    again = sum(after.get(marker) != at for marker, at in before.items())
    said = " ".join(errors.read_text().split())
    return Lost(fault, len(before), again, said.count(_DEALT_AGAIN), len(other_files(folder, name)))


Disturb = Callable[[Path, Nodes, str, Path], dict[str, int]]


def _while_it_runs(change: Callable[[Nodes], None], num_workers: int = 2) -> Disturb:
    """Change something of the cluster once a shard is stored; the command goes on by itself."""

    def disturb(folder: Path, nodes: Nodes, name: str, errors: Path) -> dict[str, int]:
        process = forked.command(gradients(folder, name, *on(nodes, "--workers", str(num_workers))), errors)
        wait_for(lambda: markers(folder, name) or not process.is_alive())
        before = markers(folder, name)
        change(nodes)
        assert forked.ended(process) == 0, errors.read_text()
        return before

    return disturb


def _of_the_command(number: signal.Signals) -> Disturb:
    """Send the command a signal once three shards are stored, then give it again."""

    def disturb(folder: Path, nodes: Nodes, name: str, errors: Path) -> dict[str, int]:
        arguments = gradients(folder, name, *on(nodes))
        run_until(arguments, errors, lambda: len(markers(folder, name)) >= 3, number)
        wait_for(lambda: not workers_of(nodes))
        before = markers(folder, name)
        forked.run(arguments, errors)
        return before

    return disturb


def _kill_a_worker(nodes: Nodes) -> None:
    kill(next(worker for node in nodes.cluster.worker_nodes for worker in workers_on(node)))


def _remove_a_node(nodes: Nodes) -> None:
    nodes.remove(next(node for node in nodes.cluster.worker_nodes if workers_on(node)))


def _add_a_node(nodes: Nodes) -> None:
    late = nodes.add()
    wait_for(lambda: workers_on(late))
    nodes.remove(next(node for node in nodes.cluster.worker_nodes if node is not late))  # so that two are left


FAULTS: dict[str, Disturb] = {
    "a worker is killed in the middle of a shard": _while_it_runs(_kill_a_worker),
    "a node is removed": _while_it_runs(_remove_a_node),
    "a node joins late and works, and another is removed": _while_it_runs(_add_a_node, 3),
    "the command is killed by SIGKILL and given again": _of_the_command(signal.SIGKILL),
    "the command is stopped by SIGTERM and given again": _of_the_command(signal.SIGTERM),
}


if __name__ == "__main__":
    main()
