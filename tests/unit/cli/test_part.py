import numpy as np
import pytest

from g2is.cli.part import find_part
from g2is.config.part import Part
from g2is.errors import ConfigError
from g2is.store.plan import PlannedShard

SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_LOCALID": "2"}


@pytest.mark.parametrize(
    ("given", "environment", "part"),
    [
        (None, {}, None),
        ("3/8", {}, Part(3, 8)),
        ("3/8", SRUN, Part(3, 8)),
        ("1/1", SRUN, None),
        (None, SRUN, Part(3, 8, 2)),
        (None, {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, Part(1, 2)),
        (None, SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),  # srun --pty, in an allocation of 8
        (None, {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script's own shell
        (None, {"SLURM_NTASKS": "8"}, None),  # salloc's shell
        (None, {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Part(2, 4, 1)),
        (None, {"RANK": "1", "WORLD_SIZE": "4"} | SRUN, Part(2, 4)),
        (None, {"RANK": "0", "WORLD_SIZE": "1"}, None),
        (None, {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost"}, None),  # torchrun's
        (None, SRUN | {"MASTER_ADDR": "node1"}, Part(3, 8, 2)),  # which job scripts export for other programs
    ],
)
def test_the_part_is_what_was_given_or_the_scheduler_says(
    given: str | None, environment: dict[str, str], part: Part | None
) -> None:
    found, notice = find_part(given, environment)
    assert found == part
    script = "SLURM_PROCID" in environment and "SLURM_JOB_ID" in environment and "SLURM_STEP_ID" not in environment
    assert bool(notice) == (given is None and (part is not None or script))


@pytest.mark.parametrize("given", ["0/8", "9/8", "3", "3/", "/8", "a/b", "-1/8", "3/8/9", "", "1.0/2", "3 of 8"])
def test_what_is_no_part_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=r"--worker: expected I/N, .*counted from 1.*found"):
        find_part(given, {})


@pytest.mark.parametrize(("rank", "count"), [("x", "2"), ("0", "two"), ("2", "2"), ("-1", "2"), ("", "2")])
def test_a_scheduler_that_says_nonsense_is_refused(rank: str, count: str) -> None:
    with pytest.raises(ConfigError, match=r"(RANK|WORLD_SIZE): expected .*--worker"):
        find_part(None, {"RANK": rank, "WORLD_SIZE": count})


def test_parts_are_all_shards_each_once() -> None:
    planned = [PlannedShard(number, np.arange(1)) for number in (0, 1, 2, 5, 6, 9)]
    parts = [Part(number, 3).of(planned) for number in (1, 2, 3)]
    assert [[shard.number for shard in part] for part in parts] == [[0, 6, 9], [1], [2, 5]]
