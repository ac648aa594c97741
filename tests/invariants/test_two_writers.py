"""Two processes that write shards of one plan at the same moment, from the first on: the same bytes as one process."""

import time
from pathlib import Path

import forked
import numpy as np

from g2is.store.matrix import RowTable, Shard

NUM_TABLES, NUM_ROWS, SHARD_ROWS = 25, 22, 4
KEYS = np.random.default_rng(0).integers(0, 256, (NUM_ROWS, 16), np.uint8)


def open_table(folder: Path, number: int) -> RowTable:
    return RowTable(folder / f"table-{number}", "f", SHARD_ROWS)


def make_shard(keys: np.ndarray) -> Shard:
    rows = keys.astype(np.float16)
    return Shard(keys, {"c/less/rows": rows, "c/less/norm": rows[:, 0], "c/sgd/rows": -rows, "loss": rows[:, 1]})


def write_every_other(folder: Path, first: int) -> None:
    """Write the shards `first`, `first` + 2 … of each table, as soon as the other process is ready to write as well."""
    tables = [open_table(folder, number) for number in range(NUM_TABLES)]
    for number, table in enumerate(tables):
        (folder / f"ready-{number}-{first}").touch()
        deadline = time.monotonic() + 60
        while not (folder / f"ready-{number}-{1 - first}").exists():
            assert time.monotonic() < deadline, "the other process has ended"
            time.sleep(0)
        for shard, start in enumerate(range(0, NUM_ROWS, SHARD_ROWS)):
            if shard % 2 == first:
                table.write(shard, make_shard(KEYS[start : start + SHARD_ROWS]))


def test_two_processes_write_to_one_table_at_a_time(tmp_path: Path) -> None:
    for number in range(NUM_TABLES):
        open_table(tmp_path, number).plan(KEYS, print)
    processes = [forked.start(write_every_other, tmp_path, first) for first in (0, 1)]
    assert [forked.ended(process) for process in processes] == [0, 0]
    calm = open_table(tmp_path / "calm", 0)
    for shard in calm.plan(KEYS, print):
        calm.write(shard.number, make_shard(KEYS[shard.rows]))
    expected = forked.stored_bytes(calm.path)
    assert len([name for name in expected if name.startswith("markers/")]) == 6
    for number in range(NUM_TABLES):
        assert forked.stored_bytes(open_table(tmp_path, number).path) == expected, number
