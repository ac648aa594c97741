"""Rows that exceed the memory of a job: a real limit on a real process, which is killed if it goes beyond."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from control_group import control_group, join
from forked import ended, start

from g2is.config import SelectionConfig
from g2is.machine.memory import available_memory
from g2is.selection import similarity
from g2is.selection.coarse import InMemory
from g2is.selection.coarse_rows import Quantised
from g2is.selection.core import core_knowledge
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk
from g2is.store.matrix import RowTable, Shard
from g2is.store.row_reader import RowReader
from g2is.store.rows import unit_rows

N, K, SHARD_ROWS = 50_000, 2_048, 1_024  # 195 MiB of float16
LIMIT = 205 * 2**20  # a copy in 8 bits, 98 MiB, fits beside what reading takes
BUDGET = 40


def drawn(num_rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(8, K)).astype(np.float32)
    return rng.standard_normal((num_rows, K), np.float32) + centres[rng.integers(0, 8 if seed else 2, num_rows)]


def write_store(folder: Path) -> None:
    table = RowTable(folder, "f", SHARD_ROWS)
    for number, low in enumerate(range(0, N, SHARD_ROWS)):
        num_rows = min(SHARD_ROWS, N - low)
        keys = np.zeros((num_rows, 16), np.uint8)
        table.write(number, Shard(keys, unit_rows(drawn(num_rows, seed=number + 1)).arrays()))


def walk_over_store(folder: Path, result: Path, group: Path | None) -> None:
    similarity._device_for = lambda num_bytes: None  # a GPU's memory is no part of this
    settings = SelectionConfig(method="g2is")
    core = core_knowledge(drawn(16, seed=0), settings)
    if group is not None:
        join(group)
    available = available_memory()
    stored = RowReader(RowTable(folder, "f", SHARD_ROWS), np.arange(N)).read()
    rows = UnitRows(stored.rows)
    assert isinstance(rows._screen, InMemory)
    told = {
        "available": available,
        "is_mapped": isinstance(stored.rows, np.memmap),
        "is_screened_in_8_bits": isinstance(rows._screen._source, Quantised),
        "rows": walk(rows, core, BUDGET, settings).rows.tolist(),
    }
    result.write_text(json.dumps(told))


def test_a_store_that_exceeds_the_memory_of_its_job_is_walked_with_the_same_rows(tmp_path: Path) -> None:
    if "tmpfs" in subprocess.run(["stat", "-fc", "%T", tmp_path], capture_output=True, text=True, check=False).stdout:
        pytest.skip("the temporary folder is in memory, where a file counts against the limit")
    write_store(tmp_path / "store")
    with control_group(LIMIT) as group:
        for name, limit in (("pressed", group), ("calm", None)):
            assert ended(start(walk_over_store, tmp_path / "store", tmp_path / name, limit)) == 0
    pressed, calm = (json.loads((tmp_path / name).read_text()) for name in ("pressed", "calm"))
    assert pressed["available"] <= LIMIT < calm["available"]
    assert (pressed["is_mapped"], pressed["is_screened_in_8_bits"]) == (True, True)
    assert (calm["is_mapped"], calm["is_screened_in_8_bits"]) == (False, False)
    assert pressed["rows"] == calm["rows"]
    assert len(set(calm["rows"])) == BUDGET
