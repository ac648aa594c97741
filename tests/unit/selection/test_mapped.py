"""Rows of a map are read when they are asked for, and their neighbours are not: seen in the system's page cache."""

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from g2is.selection.mapped import mapped_rows

K = 2 * mmap.PAGESIZE  # float16: a row is four pages

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no advice on maps")


def cold(path: Path, pool: np.ndarray) -> np.memmap:
    """`pool` as a map of a file of which nothing is in memory."""
    np.save(path, pool)
    found = np.load(path, mmap_mode="r")
    assert isinstance(found, np.memmap)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return found


def rows_in_memory(pool: np.memmap) -> list[int]:
    """The rows of which every page is in memory (the last may be the next row's, too)."""
    base = pool.ctypes.data - pool.ctypes.data % mmap.PAGESIZE
    num_pages = -(-(pool.ctypes.data + pool.nbytes - base) // mmap.PAGESIZE)
    pages = (ctypes.c_ubyte * num_pages)()
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(base), ctypes.c_size_t(num_pages * mmap.PAGESIZE), pages) == 0
    a_row = pool.strides[0] // mmap.PAGESIZE
    return [row for row in range(len(pool)) if all(page & 1 for page in pages[row * a_row : (row + 1) * a_row])]


@pytest.mark.skipif(sys.platform != "linux", reason="mincore and fadvise as Linux has them")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [(slice(40, 44), [40, 41, 42, 43]), (np.array([90, 7, 8, 90]), [7, 8, 90]), (np.array([], np.intp), [])],
)
def test_rows_that_are_asked_for_are_read_and_no_others(
    asked: slice | np.ndarray, expected: list[int], tmp_path: Path
) -> None:
    pool = cold(tmp_path / "pool.npy", np.random.default_rng(0).normal(size=(100, K)).astype(np.float16))
    mapped = mapped_rows(pool)
    assert mapped is not None
    if len(rows_in_memory(pool)) == 100:
        pytest.skip("this file system keeps files in memory")
    mapped.fetch(asked)
    for _ in range(100):
        if rows_in_memory(pool) == expected:
            break
        time.sleep(0.02)
    assert rows_in_memory(pool) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="mincore and fadvise as Linux has them")
def test_a_look_at_a_row_reads_nothing_around_it(tmp_path: Path) -> None:
    pool = cold(tmp_path / "pool.npy", np.random.default_rng(0).normal(size=(100, K)).astype(np.float16))
    if len(rows_in_memory(pool)) == 100:
        pytest.skip("this file system keeps files in memory")
    assert mapped_rows(pool) is not None
    assert np.isfinite(pool[50, K // 2])
    assert not rows_in_memory(pool)  # a page of row 50 is there, no whole row


def test_what_is_no_map_of_whole_rows_is_left_alone(tmp_path: Path) -> None:
    pool = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float16)
    assert mapped_rows(pool) is None
    np.save(tmp_path / "rows.npy", pool)
    copy = np.load(tmp_path / "rows.npy", mmap_mode="r").copy()  # a np.memmap by its class, in memory by its bytes
    assert mapped_rows(copy) is None
    np.save(tmp_path / "columns.npy", np.asfortranarray(pool))
    assert mapped_rows(np.load(tmp_path / "columns.npy", mmap_mode="r")) is None
