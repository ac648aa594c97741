"""A shard write killed at each of its durable steps leaves nothing but the shards before it, and can be done again."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from forked import die, ended, start

from g2is.store.matrix import RowTable, Shard


def make_shard(number: int, num_rows: int) -> Shard:
    rng = np.random.default_rng(number)
    arrays: dict[str, np.ndarray] = {
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


def write_and_die(folder: Path, num_syncs: int) -> None:
    """Write two shards, and die at the fsync after `num_syncs` of them."""
    real, left = os.fsync, num_syncs

    def fsync(fd: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            die()
        real(fd)

    os.fsync = fsync
    write_all(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_shard_write_killed_at_any_step_can_be_done_again(tmp_path: Path) -> None:
    write_all(tmp_path / "calm")
    expected = contents(tmp_path / "calm")
    num_kills = 0
    for step in range(0, 200, 3):
        folder = tmp_path / f"killed-{step}"
        code = ended(start(write_and_die, folder, step))
        if code == 0:
            break
        assert code == -9
        num_kills += 1
        table = RowTable(folder, "fingerprint", shard_rows=8)
        whole = [make_shard(number, rows) for number, rows in ((0, 8), (1, 5))][: len(table.positions()) // 5]
        assert set(table.positions()) == {key.tobytes() for shard in whole for key in shard.key}
        write_all(folder)
        assert contents(folder) == expected, f"killed at fsync {step}"
    assert num_kills >= 10
