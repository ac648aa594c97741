"""Approximate cosines of pool rows in float32: from the stored matrix, from an 8-bit copy of it, or on a GPU.

A screen says by how much it may be off, and never more (`error`); what lies so near a decision that this matters is
computed anew in float64 by `similarity.py`.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Protocol

import torch
from threadpoolctl import threadpool_limits

from g2is.selection.screened_rows import Source, Stored, Which, select

_COLUMNS = (
    2048  # added up in one float32 sum, sums of which are added next: fewer have a smaller margin but take longer
)
_UNIT = 2.0**-24  # relative rounding error of float32
_DEVICE_VALUES = 2**27  # converted to float32 at a time on a GPU: 512 MiB

_torch_threads_lock = threading.Lock()


class Screen(Protocol):
    """error   the most by which a cosine may be off
    is_cheap   whether a pass takes about as long as one step's other work, so that saving passes gains nothing
    """

    error: float
    is_cheap: bool

    def cosines(self, directions: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """Cosines (c, n) of `rows` (n,), of all rows if None, with the unit vectors `directions` (c, k); float32."""
        ...

    def units(self, rows: torch.Tensor) -> torch.Tensor:
        """The unit vectors (n, k) of `rows` (n,), as nearly as the screen knows them; float32."""
        ...


def rounding(k: int) -> float:
    """The most by which a cosine of k coordinates may be off for being added up in float32, `_COLUMNS` at a time.

    In any order of adding n products, float32 errs by at most n·u/(1 - n·u)·Σ|xᵢdᵢ| (Higham, Accuracy and Stability,
    §3.1), and Σ|xᵢdᵢ| <= 1 for unit vectors. Beside the longest sum: one rounding for each piece, and ten for bringing
    row, direction, norm, result and whatever it is compared with to float32 (six would do).
    """
    num_roundings = min(k, _COLUMNS) + -(-k // _COLUMNS) + 10
    return 1.01 * num_roundings * _UNIT


class InMemory:
    """A screen on the processor's cores. It converts as many rows at a time as fit into a core's cache."""

    is_cheap = False

    def __init__(self, source: Source, k: int, block_rows: int) -> None:
        self._source, self._k, self._block_rows = source, k, block_rows
        self.error = source.error + rounding(k) * (1 + source.error)

    def cosines(self, directions: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        source = self._source
        num_rows = source.num_rows if rows is None else len(rows)
        out = torch.empty(len(directions), num_rows)
        if source.width > self._k:
            directions = torch.nn.functional.pad(directions, (0, source.width - self._k))
        pieces = directions.split(_COLUMNS, dim=1)

        def screen(start: int, stop: int) -> None:
            buffer = torch.empty(self._block_rows, source.width, dtype=torch.float32)
            source.fetch(slice(start, stop) if rows is None else rows[start:stop])
            for low in range(start, stop, self._block_rows):
                high = min(low + self._block_rows, stop)
                which = slice(low, high) if rows is None else rows[low:high]
                _put_cosines(source, which, pieces, buffer[: high - low], out[:, low:high])

        over_stripes(num_rows, self._block_rows, screen)
        return out

    def units(self, rows: torch.Tensor) -> torch.Tensor:
        return _units(self._source, rows)[:, : self._k]


class OnDevice:
    """A screen on a GPU that holds the whole matrix."""

    is_cheap = True

    def __init__(self, source: Stored, device: torch.device) -> None:
        self._device, self._k, self._source = device, source.width, source.to(device)
        self.error = rounding(self._k)

    def cosines(self, directions: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        source = self._source
        rows = None if rows is None else rows.to(self._device)
        pieces = directions.to(self._device).split(_COLUMNS, dim=1)
        num_rows, at_once = source.num_rows if rows is None else len(rows), max(1, _DEVICE_VALUES // self._k)
        out = torch.empty(len(directions), num_rows, device=self._device)
        with _full_precision():
            for low in range(0, num_rows, at_once):
                high = min(low + at_once, num_rows)
                which = slice(low, high) if rows is None else rows[low:high]
                block = torch.empty(high - low, self._k, device=self._device)
                _put_cosines(source, which, pieces, block, out[:, low:high])
        return out.cpu()

    def units(self, rows: torch.Tensor) -> torch.Tensor:
        return _units(self._source, rows.to(self._device)).cpu()


def _put_cosines(
    source: Source, which: Which, pieces: Sequence[torch.Tensor], block: torch.Tensor, out: torch.Tensor
) -> None:
    """Read `which` rows into `block` (n, width), and put their cosines with the directions, cut in pieces, in `out`."""
    source.read(which, block)
    out.zero_()
    for columns, piece in zip(block.split(_COLUMNS, dim=1), pieces, strict=True):
        if len(out) == 1:
            out[0].addmv_(columns, piece[0])
        else:  # in this order a BLAS is twice as fast for few directions as in the other (measured)
            out.addmm_(piece, columns.T)
    if source.inverse_norms is not None:
        out.mul_(select(source.inverse_norms, which))


def _units(source: Source, rows: torch.Tensor) -> torch.Tensor:
    """The unit vectors (n, width) of `rows` (n,), on their device."""
    units = torch.empty(len(rows), source.width, device=rows.device)
    source.fetch(rows)
    source.read(rows, units)
    return units if source.inverse_norms is None else units.mul_(select(source.inverse_norms, rows)[:, None])


def over_stripes(num_rows: int, block_rows: int, work: Callable[[int, int], None]) -> None:
    """Do `work(start, stop)` for stripes of rows, in as many threads as torch is set to use.

    Each thread runs torch single-threaded: threads that meet at a barrier after every small block lose most of their
    time there, all of it on a machine that others use too.
    """
    stripe = block_rows * 32
    starts = range(0, num_rows, stripe)
    with single_threaded_torch() as num_threads:
        do = map if num_threads == 1 or len(starts) <= 1 else _workers(num_threads).map
        list(do(lambda start: work(start, min(start + stripe, num_rows)), starts))


@cache
def _workers(num_threads: int) -> ThreadPoolExecutor:
    # Kept from pass to pass: a thread's first product makes a BLAS find memory for it.
    return ThreadPoolExecutor(num_threads, thread_name_prefix="g2is pass")


os.register_at_fork(after_in_child=_workers.cache_clear)  # a child has none of its parent's threads


class _SingleThreadedBlas:
    """Lets numpy's BLAS use one thread while any selection is under way.

    Its threads go on spinning for some 20 ms after each product, on the very cores that the next pass needs: half of a
    walk's time (measured).
    """

    def __init__(self) -> None:
        self._lock, self._num_inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._num_inside:
                self._limits = threadpool_limits(1, user_api="blas")
            self._num_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._limits.restore_original_limits()


single_threaded_blas = _SingleThreadedBlas()


@contextmanager
def single_threaded_torch() -> Iterator[int]:
    """Lets torch use one thread; gives the number that it may use otherwise."""
    # The setting is the process's, so two walks must not save and restore it across each other.
    with _torch_threads_lock:
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield num_threads
        finally:
            torch.set_num_threads(num_threads)


@contextmanager
def _full_precision() -> Iterator[None]:
    # TF32 keeps ten bits of each factor, far less than `rounding` promises.
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
