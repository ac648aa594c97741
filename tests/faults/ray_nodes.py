"""A Ray cluster of several nodes on this machine: real ones, each with processes of its own, that can be taken away."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_SMALL = {"object_store_memory": 80 * 2**20}
TESTS, SOURCE = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2] / "src"
PATHS = [str(SOURCE), str(TESTS)]
MARKED = "a row that no worker can make"


@dataclass(frozen=True)
class Nodes:
    """A head without room for workers, and nodes with room for one each."""

    cluster: Any

    @property
    def address(self) -> str:
        """Where a command finds it."""
        return str(self.cluster.address)

    def add(self) -> Any:
        """A further node."""
        return self.cluster.add_node(num_cpus=1, **_SMALL)

    def remove(self, node: Any) -> None:
        """Take a node away, with all that runs on it."""
        self.cluster.remove_node(node, allow_graceful=False)

    def num_places(self) -> int:
        """How many nodes there are but for the head."""
        return len(self.cluster.worker_nodes)


def workers_on(node: Any) -> list[int]:
    """The processes of our actors on a node."""
    raylet = node.all_processes["raylet"][0].process.pid
    return [pid for pid, parent, name in _processes() if parent == raylet and name.startswith("ray::Actor")]


def workers_of(nodes: Nodes) -> list[int]:
    """The processes of our actors on all nodes."""
    return [pid for node in nodes.cluster.worker_nodes for pid in workers_on(node)]


def kill(pid: int) -> None:
    """End a process as the system does that has no memory left."""
    os.kill(pid, signal.SIGKILL)


def wait_for(what: Callable[[], object], seconds: float = 240) -> None:
    """Wait until `what` is the case; it must be, within some seconds."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.02)


@contextmanager
def nodes_here() -> Iterator[Nodes]:
    """A cluster with two nodes beside its head, whose processes find this g2is and this module."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.update({"RAY_worker_niceness": "0"})  # of 15: beside other tests an actor would not come to start
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*PATHS, *filter(None, [before])])
    from ray.cluster_utils import Cluster

    Path("/tmp/ray").mkdir(exist_ok=True)  # in which Cluster writes its address, and which it does not make
    with tempfile.TemporaryDirectory(prefix="g2is-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        # one with a short path: sockets lie in it
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, **_SMALL}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            nodes = Nodes(cluster)
            nodes.add()
            nodes.add()
            yield nodes
        finally:
            cluster.shutdown()
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


def _processes() -> Iterator[tuple[int, int, str]]:
    """Each process of this machine: its number, its parent's and what it calls itself."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            yield int(folder.name), parent, name


def shapeless_where_marked(texts: Sequence[str]) -> np.ndarray:
    """Vectors of texts; not as many as there are texts where one is MARKED."""
    rows = [[float(len(text)), 1.0] for text in texts if MARKED not in text]
    return np.array(rows)
