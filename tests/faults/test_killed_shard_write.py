"""A shard write killed at each of its durable steps leaves nothing but the shards before it, and can be done again."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from g2is.store.matrix import RowTable, Shard

# Runs in a process of its own: writes two shards and dies at the n-th fsync.
WRITER = """
import os, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_killed_shard_write import write_all
real, left = os.fsync, int(sys.argv[2])
def fsync(handle):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    real(handle)
os.fsync = fsync
write_all(Path(sys.argv[1]))
"""


def make_shard(number: int, num_rows: int) -> Shard:
    rng = np.random.default_rng(number)
    arrays = {
        "epoch-1/less/rows": rng.normal(size=(num_rows, 16)).astype(np.float16),
        "epoch-1/less/norm": rng.random(num_rows, np.float32),
        "epoch-1/loss": rng.random(num_rows, np.float32),
        "num_answer_tokens": np.arange(num_rows, dtype=np.int32),
    }
    return Shard(rng.integers(0, 256, (num_rows, 16), dtype=np.uint8), arrays)


def write_all(folder: Path) -> None:
    table = RowTable(folder, "fingerprint", shard_rows=8)
    table.sweep()
    stored = table.positions()
    for number, num_rows in ((0, 8), (1, 5)):
        shard = make_shard(number, num_rows)
        if shard.key[0].tobytes() not in stored:
            assert table.next_shards(1) == [number]
            table.write(number, shard)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_shard_write_killed_at_any_step_can_be_done_again(tmp_path: Path) -> None:
    write_all(tmp_path / "calm")
    expected = contents(tmp_path / "calm")
    num_kills = 0
    for step in range(0, 200, 3):
        folder = tmp_path / f"killed-{step}"
        died = subprocess.run(
            [sys.executable, "-c", WRITER, str(folder), str(step), str(Path(__file__).parent)],
            capture_output=True,
            check=False,
        )
        if died.returncode == 0:
            break
        assert died.returncode == -9, died.stderr.decode()
        num_kills += 1
        table = RowTable(folder, "fingerprint", shard_rows=8)
        whole = [make_shard(number, rows) for number, rows in ((0, 8), (1, 5))][: len(table.positions()) // 5]
        assert set(table.positions()) == {key.tobytes() for shard in whole for key in shard.key}
        write_all(folder)
        assert contents(folder) == expected, f"killed at fsync {step}"
    assert num_kills >= 10
