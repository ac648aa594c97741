"""A seeded sample of the trials of `benchmarks/faults/kills.py`, of the commands that take the least time."""

import time
from pathlib import Path

import pytest

from faults.calm import COMMANDS, Calm
from faults.kills import run_signals, run_steps

SAMPLED = ("train", "walk", "export")


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_stopped_in_any_way_and_given_again_a_command_ends_in_the_same_bytes(tmp_path: Path) -> None:
    commands = [command for command in COMMANDS if command.name in SAMPLED]
    until, calm = time.monotonic() + 500, Calm(tmp_path / "trials")
    rows = [row for run in (run_signals, run_steps) for row in run(until, 0, calm, commands, of_each=1)]
    assert len(rows) == 6 * len(commands)
    assert sum(row["tried"] for row in rows) >= len(rows) / 2
    for row in rows:
        assert row["same"] == row["tried"], row
        assert not row["unclear"], row
