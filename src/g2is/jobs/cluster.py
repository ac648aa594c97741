"""A command's jobs done on a Ray cluster: how many workers, on what, and how each of them opens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from g2is.config import Config, ExecutionConfig
from g2is.config.compare import CompareConfig
from g2is.engine.job import Engine
from g2is.engine.ray import RayEngine, connected, has_gpus, open_actors, places
from g2is.engine.worker import Notice, Worker
from g2is.errors import ConfigError
from g2is.jobs.model_identity import ModelIdentity

OpenOn = Callable[[str, int, Notice], Worker[Any]]  # what is an `Open` once device and number of threads are given
_AnyConfig = TypeVar("_AnyConfig", Config, CompareConfig)


@contextmanager
def ray_engines(
    execution: ExecutionConfig, open_on: OpenOn, place: Path | str, num_jobs: int, notice: Notice
) -> Iterator[Callable[[Callable[[int], None]], Engine[Any]]]:
    """What gives an engine, by who is told of its tokens; its workers open with `open_on`, and end with this context.

    They are as many as can be used for so many jobs. The command holds its `place`, a folder or URL, below
    which they write.

    Raises ConfigError where there is no cluster to connect to, or its workers would have no device as asked for.
    """
    with connected("auto" if execution.address is None else execution.address) as ray:
        on_gpus = execution.device != "cpu" and has_gpus(ray)
        resources = execution.worker_resources or ({"GPU": 1.0} if on_gpus else {"CPU": 1.0})
        if execution.device.startswith("cuda") and not resources.get("GPU"):
            raise ConfigError(
                f"execution.device: expected workers that have a GPU, found that they take {_told(resources)} of their"
                " nodes. Give --worker-resources '{\"GPU\": 1}', or --device cpu"
            )
        num_places = places(ray, resources)
        num_workers = min(execution.workers or max(1, num_places), num_jobs)
        waiting = max(0, num_workers - num_places)
        notice(
            f"Ray: {num_workers} workers, each with {_told(resources)} of a node"
            + (f"; {waiting} of them wait until there is a place" if waiting else "")
            + ". What they print is on their nodes, below /tmp/ray/session_latest/logs"
        )
        device, threads = "cuda" if resources.get("GPU") else "cpu", max(1, int(resources.get("CPU", 1)))
        with open_actors(ray, partial(open_on, device, threads), place, num_workers, resources, notice) as actors:
            yield lambda add: RayEngine(actors, add)


def with_dtype(config: _AnyConfig, identity: ModelIdentity) -> _AnyConfig:
    """The settings with the type that the command's own device decided: a worker's device may be another."""
    dtype = str(identity.dtype).removeprefix("torch.")
    return config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})


def _told(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
