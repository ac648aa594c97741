"""Rows of a memory map that exceeds memory: read as they are asked for, and nothing else with them."""

import mmap
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2**17  # bytes asked for in one call: Linux reads no more than a disk's read-ahead, which is often this


class MappedRows:
    """Has the pages of rows read before they are looked at, many at a time.

    Left to itself, a system takes a look at a page for the beginning of a run and reads up to megabytes around it,
    which for rows here and there is a hundred times what is needed.
    """

    def __init__(self, pool: np.memmap, mapping: mmap.mmap) -> None:
        """`pool` (N, k), rows in one piece each, lies in `mapping`, which is read at random from now on."""
        self._map = mapping
        self._start = pool.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
        self._row_bytes = pool.strides[0]
        with suppress(OSError):  # it is advice
            mapping.madvise(mmap.MADV_RANDOM)

    def fetch(self, rows: slice | NDArray[np.intp]) -> None:
        """Begin to read `rows`, a range or indices (n,) in any order; what is looked at next waits for them."""
        if isinstance(rows, slice):
            self._fetch(rows.start, rows.stop)
        elif len(rows):
            ascending = np.unique(rows)
            ends = np.flatnonzero(np.diff(ascending) > 1) + 1
            for low, high in pairwise([0, *ends.tolist(), len(ascending)]):
                self._fetch(int(ascending[low]), int(ascending[high - 1]) + 1)

    def _fetch(self, low: int, high: int) -> None:
        begin, end = (self._start + row * self._row_bytes for row in (low, high))
        for place in range(begin - begin % mmap.PAGESIZE, end, _AT_ONCE):
            with suppress(OSError):
                self._map.madvise(mmap.MADV_WILLNEED, place, min(_AT_ONCE, end - place))


def mapping_of(pool: object) -> mmap.mmap | None:
    """The map that `pool` lies in, if it is one: a copy of a memory map is still a np.memmap, but none of a file."""
    base: Any = pool if isinstance(pool, np.memmap) else None
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base


def mapped_rows(pool: object) -> MappedRows | None:
    """`pool` as mapped rows, if it is a map whose rows lie in one piece each, and this system takes advice on maps."""
    mapping = mapping_of(pool)
    if mapping is None or not hasattr(mmap, "MADV_WILLNEED"):
        return None
    assert isinstance(pool, np.memmap)
    return MappedRows(pool, mapping) if pool.flags.c_contiguous else None
