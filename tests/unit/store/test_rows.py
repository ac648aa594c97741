import errno
from pathlib import Path

import numpy as np
import pytest

from g2is.machine import memory
from g2is.store.matrix import RowTable, Shard
from g2is.store.row_reader import RowReader
from g2is.store.rows import StoredRows, has_direction, room_for_rows, unit_rows


def test_rows_without_a_direction_become_zeros_and_keep_their_norm() -> None:
    projected = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1], [3e30, 4e30]], np.float32)
    rows = unit_rows(projected)
    assert rows.rows.dtype == np.float16
    np.testing.assert_allclose(
        rows.rows.astype(np.float32), [[0.6, 0.8], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.6, 0.8]], atol=1e-3
    )
    assert rows.norm[0] == 5
    assert rows.norm[1] == 0
    assert np.isnan(rows.norm[2])
    assert np.isinf(rows.norm[3])
    assert has_direction(rows.norm).tolist() == [True, False, False, False, True]


def test_rows_times_norms_are_the_vectors() -> None:
    rng = np.random.default_rng(0)
    projected = rng.normal(size=(5, 64)).astype(np.float32) * 10
    made = unit_rows(projected)
    read = StoredRows(made.rows, made.norm[:, None])
    np.testing.assert_allclose(read.unnormalized(), projected, rtol=2e-3, atol=1e-2)


def test_rows_are_read_back_with_the_reason_why_each_is_set_aside(tmp_path: Path) -> None:
    vectors = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1]], np.float32)
    table = RowTable(tmp_path, "f", shard_rows=8)
    table.write(0, Shard(np.arange(64, dtype=np.uint8).reshape(4, 16), unit_rows(vectors).arrays()))
    read = RowReader(table, np.array([3, 0, 1, 2]), what="hidden state").read()
    assert read.usable.tolist() == [False, True, False, False]
    assert read.reasons() == {0: "infinite hidden state", 2: "zero hidden state", 3: "NaN hidden state"}
    np.testing.assert_allclose(
        read.rows.astype(np.float32), [[0.0, 0.0], [0.6, 0.8], [0.0, 0.0], [0.0, 0.0]], atol=1e-3
    )


def test_rows_that_do_not_fit_into_memory_are_mapped_from_a_file_that_nobody_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 32)).astype(np.float32)
    table = RowTable(tmp_path, "f", shard_rows=8)
    keys = np.arange(20 * 16, dtype=np.uint16).view(np.uint8)[: 20 * 16].reshape(20, 16)
    for number, low in enumerate(range(0, 20, 8)):
        table.write(number, Shard(keys[low : low + 8], unit_rows(vectors[low : low + 8]).arrays()))
    order, files = np.array([19, 3, 0, 17, 4]), sorted(tmp_path.rglob("*"))
    calm = RowReader(table, order).read()
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    mapped = RowReader(table, order).read()
    assert not isinstance(calm.rows, np.memmap)
    assert isinstance(mapped.rows, np.memmap)
    assert mapped.rows.tolist() == calm.rows.tolist()
    assert sorted(tmp_path.rglob("*")) == files


def test_rows_that_fit_neither_into_memory_nor_on_the_disk_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)) as error:
        room_for_rows((2**40, 8192), tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
