"""What a launcher (torchrun, accelerate launch, another) says in the environment of the processes that it starts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from g2is.errors import ConfigError

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# What accelerate launch may say without changing what is computed; its settings of g2is are given to g2is.
_HARMLESS = {
    "ACCELERATE_MIXED_PRECISION": ("no",),
    "ACCELERATE_DYNAMO_BACKEND": ("no",),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1",),
    **dict.fromkeys(
        (
            *("ACCELERATE_DYNAMO_MODE", "ACCELERATE_DYNAMO_USE_FULLGRAPH", "ACCELERATE_DYNAMO_USE_DYNAMIC"),
            *("ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION", "ACCELERATE_USE_CPU", "ACCELERATE_DEBUG_MODE"),
            *("ACCELERATE_CPU_AFFINITY", "ACCELERATE_LOG_LEVEL"),
        ),
        None,  # any value
    ),
}
_LAUNCHERS = (*_NEEDED, "LOCAL_WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


@dataclass(frozen=True)
class Place:
    """Which of the processes of a command this one is: `rank` of `count`, and `local_rank` of those of its machine."""

    rank: int
    count: int
    local_rank: int


def place_in(environment: Mapping[str, str]) -> Place | None:
    """The place that a launcher gave this process; None if it works alone.

    Raises ConfigError where what it says is incomplete or wrong, or asks of the training what g2is does not do.
    """
    _check_accelerate(environment)
    if "MASTER_ADDR" not in environment or "RANK" not in environment or environment.get("WORLD_SIZE", "1") == "1":
        return None
    if lacking := [name for name in _NEEDED if name not in environment]:
        raise ConfigError(
            f"expected the launcher to set {', '.join(_NEEDED)}, found no {', '.join(lacking)}. Start with `torchrun"
            " --nproc-per-node N -m g2is …`, or unset RANK and MASTER_ADDR to work in one process"
        )
    rank, count, local_rank = (_number(environment, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if rank >= count:
        raise ConfigError(f"RANK: expected a number below WORLD_SIZE, which is {count}, found {rank}")
    return Place(rank, count, local_rank)


def starts_one_of_several(environment: Mapping[str, str]) -> bool:
    """Whether the launcher speaks of several processes and started one: `accelerate launch --cpu` does without MPI."""
    others = {"RANK", "WORLD_SIZE", *_LAUNCHERS[-3:], "SLURM_STEP_ID"}  # a task of srun is no process of accelerate's
    return "MASTER_ADDR" in environment and not others & environment.keys()


def _number(environment: Mapping[str, str], name: str) -> int:
    if not environment[name].isdecimal():
        raise ConfigError(f"{name}: expected a whole number, as torchrun sets it, found {environment[name]!r}")
    return int(environment[name])


def _check_accelerate(environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not name.startswith("ACCELERATE_"):
            continue
        if name not in _HARMLESS or (value.lower() not in (_HARMLESS[name] or (value.lower(),))):
            raise ConfigError(
                f"{name}: expected accelerate launch to start processes and nothing else, found {value!r}, which would"
                " train in another way than the settings say. Leave it out (`accelerate launch --mixed_precision no …`,"
                " or torchrun), and set what you want with --set"
            )


@contextmanager
def alone() -> Iterator[None]:
    """Hide what a launcher said: a training of this process alone waits for no others."""
    hidden = {name: os.environ.pop(name) for name in _LAUNCHERS if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
