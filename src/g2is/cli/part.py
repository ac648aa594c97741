"""Which part of the plan this process has, by `--worker` or what a batch scheduler says of its tasks."""

from collections.abc import Mapping

from g2is.config.part import Part
from g2is.errors import ConfigError


def find_part(given: str | None, environment: Mapping[str, str]) -> tuple[Part | None, str]:
    """The part that `--worker` gives, else the scheduler; and a notice of what was taken from the environment.

    None where the process has no others beside it: 1/1 says so whatever the environment. Raises ConfigError where a
    number cannot be used.
    """
    if given is not None:
        part = Part.from_text(given)
        return (part, "") if part.count > 1 else (None, "")
    if {"MASTER_ADDR", "RANK"} <= environment.keys():  # torchrun's processes share the work as one command
        return None, ""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return _taken(environment, "RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "SLURM_PROCID" not in environment or "SLURM_NTASKS" not in environment:
        return None, ""
    if "SLURM_JOB_ID" in environment and "SLURM_STEP_ID" not in environment:
        # a batch script's own shell has both numbers too, but is one process
        alone = environment["SLURM_NTASKS"] == "1"
        return None, "" if alone else (
            "this is a batch script's own process, so it makes all shards; start g2is with srun for one worker a task,"
            " or say which with --worker I/N"
        )
    count = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
    return _taken(environment, "SLURM_PROCID", count, "SLURM_LOCALID")


def _taken(environment: Mapping[str, str], number: str, count: str, place: str) -> tuple[Part | None, str]:
    for name in (number, count):
        if not environment[name].isdecimal():
            raise ConfigError(
                f"{name}: expected a whole number, as a scheduler sets it, found {environment[name]!r}. Say which part"
                " this process makes with --worker I/N, or --worker 1/1 for all"
            )
    index, total = int(environment[number]), int(environment[count])
    if total <= 1:
        return None, ""
    if index >= total:
        raise ConfigError(
            f"{number}: expected a number below {count}, which is {total}, found {index}. Say which part this process"
            " makes with --worker I/N, or --worker 1/1 for all"
        )
    local = environment.get(place, "")
    part = Part(index + 1, total, int(local) if local.isdecimal() else None)
    return part, f"worker {part}, by {number} and {count}; --worker 1/1 makes all shards in this process"
