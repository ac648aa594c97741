"""A command's rows made on a Ray cluster: how many workers, on what, and how each of them opens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from g2is.config import Config
from g2is.engine.job import Engine
from g2is.engine.ray import RayEngine, connected, has_gpus, open_actors, places
from g2is.errors import ConfigError
from g2is.jobs.prepare import Prepared
from g2is.jobs.worker import as_settings, open_worker
from g2is.progress import Reporter
from g2is.representations.own import Representation
from g2is.store.elsewhere import place_of


@contextmanager
def ray_engines(
    prepared: Prepared, num_shards: int, reporter: Reporter, own: Representation | None
) -> Iterator[Callable[[Callable[[int], None]], Engine]]:
    """What gives the engine of each table, by who is told of its tokens; its workers end with this context.

    Raises ConfigError where there is no cluster to connect to, or its workers would have no device as asked for.
    """
    execution = prepared.config.execution
    with connected("auto" if execution.address is None else execution.address) as ray:
        on_gpus = execution.device != "cpu" and has_gpus(ray)
        resources = execution.worker_resources or ({"GPU": 1.0} if on_gpus else {"CPU": 1.0})
        if execution.device.startswith("cuda") and not resources.get("GPU"):
            raise ConfigError(
                f"execution.device: expected workers that have a GPU, found that they take {_told(resources)} of their"
                " nodes. Give --worker-resources '{\"GPU\": 1}', or --device cpu"
            )
        num_places = places(ray, resources)
        num_workers = min(execution.workers or max(1, num_places), num_shards)
        waiting = max(0, num_workers - num_places)
        reporter.notice(
            f"Ray: {num_workers} workers, each with {_told(resources)} of a node"
            + (f"; {waiting} of them wait until there is a place" if waiting else "")
            + ". What they print is on their nodes, below /tmp/ray/session_latest/logs"
        )
        device, threads = "cuda" if resources.get("GPU") else "cpu", max(1, int(resources.get("CPU", 1)))
        opens = partial(open_worker, as_settings(_as_prepared(prepared)), device, threads, own=own)
        store = place_of(prepared.config.store_folder)
        with open_actors(ray, opens, store, num_workers, resources, reporter.notice) as actors:
            yield lambda add: RayEngine(actors, add)


def _as_prepared(prepared: Prepared) -> Config:
    """The settings with the type that the command's own device decided: a worker's device may be another."""
    dtype = str(prepared.identity.dtype).removeprefix("torch.")
    model = prepared.config.model.model_copy(update={"dtype": dtype})
    return prepared.config.model_copy(update={"model": model})


def _told(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
