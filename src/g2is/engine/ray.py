"""Runs jobs on a Ray cluster, by actors that each have a device and a model. No other file of g2is imports Ray.

Ray places the actors, starts them again, and asks an autoscaler for nodes while some have no place. Rows go from the
actors straight to the store, which lies where all nodes see it; Ray carries only jobs, and what is told of them.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2is.engine.job import AnyJob
from g2is.engine.ray_actor import Actor, versions
from g2is.engine.ray_actors import Actors, Member
from g2is.engine.worker import Notice, Open
from g2is.errors import ConfigError, first_line
from g2is.store.reach import words_of

_SECONDS_TO_CONNECT = 5.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class RayEngine:
    """Does jobs by `actors`; `add` is told of tokens done."""

    actors: Actors
    add: Callable[[int], None]

    def run(self, jobs: Iterable[AnyJob]) -> Iterator[AnyJob]:
        """As `Actors.run`."""
        return self.actors.run(jobs, self.add)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ray, connected to the cluster at `address`: host:port, or auto (RAY_ADDRESS, or this machine's).

    One that this process is connected to already is used, and stays. Raises ConfigError where ray is not installed, the
    address is none, or no cluster of this version of ray answers there.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent anywhere
    try:
        import ray
        from ray._private import worker as printing
    except ImportError as error:
        raise ConfigError(
            f"execution.engine: expected the package ray for the engine ray, found none ({error}). Install it on all"
            " nodes: pip install 'g2is[ray]'"
        ) from None
    if ray.is_initialized():
        yield ray
        return
    _check_answers(address)
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        # what workers print stays in their nodes' logs; this process says itself what its user should know
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(_no_cluster(address, first_line(error))) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():  # Ray's own for SIGTERM ends the process without a word
                signal.signal(number, handler)
    # There is no setting for it: that an actor ended is printed on standard output, in the midst of results.
    printing.print_to_stdstream = lambda *_, **__: None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def open_actors(
    ray: Any, open_worker: Open, place: Path | str, num_actors: int, resources: Mapping[str, float], notice: Notice
) -> Iterator[Actors]:
    """So many actors that open with `open_worker`, each with the `resources` of a node; they end with this context.

    Those that find no place wait for one, and come to work when there is.

    This process holds the command's `place`: its store, a folder or URL, or a comparison's folder.
    """
    actor_class = ray.remote(
        num_cpus=resources.get("CPU", 0),
        num_gpus=resources.get("GPU", 0),
        memory=resources.get("memory"),
        resources={name: amount for name, amount in resources.items() if name not in ("CPU", "GPU", "memory")},
        max_restarts=-1,
        max_task_retries=0,  # of jobs: `Actors` says why
        concurrency_groups={"watch": 1},
    )(Actor)
    opens, held, expected = ray.cloudpickle.dumps(open_worker), words_of(place), versions()
    try:
        members = [Member(actor_class.remote(opens, place, held, expected)) for _ in range(num_actors)]
    except ValueError as error:  # such as 1.5 GPUs
        raise ConfigError(
            f"execution.worker_resources: expected what Ray can give, found {dict(resources)}: {first_line(error)}"
        ) from None
    actors = Actors(ray, node_id, members, notice)
    try:
        for member in members:
            actors.place(member)
        yield actors
    finally:
        actors.end()


def places(ray: Any, resources: Mapping[str, float]) -> int:
    """How many actors that each take the `resources` have a place on the nodes that are there now."""
    nodes: Sequence[Mapping[str, Any]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        int(min((node.get(name, 0) / amount + 1e-6 for name, amount in resources.items() if amount), default=1))
        for node in nodes
    )


def has_gpus(ray: Any) -> bool:
    """Whether any node that is there now has a GPU."""
    return any(node["Alive"] and node["Resources"].get("GPU", 0) > 0 for node in ray.nodes())


def node_id() -> str:
    """Ray's id of the node that this actor runs on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _check_answers(address: str) -> None:
    """Raise ConfigError if nobody listens at `address`: Ray would try for minutes, and print."""
    asked = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    if asked == "auto":
        return  # Ray finds it, or says at once that there is none
    host, colon, port = asked.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host or not 0 < int(port) < 65536:
        raise ConfigError(
            f"execution.address: expected auto, or host:port of a Ray cluster's head, found {asked!r}. A program"
            " outside of the cluster is given to it with `ray job submit` (docs/cluster/ray.md)"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise ConfigError(_no_cluster(asked, error.strerror or str(error))) from None


def _no_cluster(address: str, found: str) -> str:
    return (
        f"execution.address: expected a Ray cluster at {address}, found none that can be used: {found.rstrip('.')}."
        " Start one (`ray start --head`, and `ray start --address=HEAD:6379` on each further node), or give the"
        " --address of one from a machine of it"
    )
