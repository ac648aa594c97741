"""Cosines of pool rows with a direction: a float32 screen, and the float64 values that decide.

One pass over the pool's N·k stored values answers several steps of the walk; the N×N graph is never made. The pass runs
in float32, because it is bound by memory and conversion, and is off by at most `margin` (a worst-case bound,
`coarse.py`). Whatever lies so near a threshold, or so near the best, that the margin could turn the decision, is
computed anew in float64 from the stored values. So the walk is that of a plain float64 program, whatever the block, the
number of threads or the order in which a BLAS adds.

Float64 has rounding too: whether two orthogonal rows have cosine +1e-17 or -1e-17 is chance. Differences up to
`GRAIN` are therefore no differences: a value within GRAIN below a threshold reaches it, values within GRAIN of the
best tie with it, and ties go to the lowest row.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch

from g2is.errors import MatrixError, tells_of_memory
from g2is.machine.memory import fits_in_memory
from g2is.machine.threads import over_stripes, single_threaded_torch
from g2is.selection.arrays import GRAIN, MOST_AHEAD, Floats, Mask, Rows, Singles, dot_rows
from g2is.selection.coarse import InMemory, OnDevice, Screen
from g2is.selection.coarse_rows import STORED, Quantised, Stored, values_of, width_of
from g2is.selection.files import as_tensor, first_broken_rows
from g2is.selection.mapped import mapped_rows, mapping_of

BLOCK_VALUES = 2**19  # converted to float32 at a time: 2 MiB (measured: with fewer, threads wait for Python's lock)
_EXACT_VALUES = 2**17  # converted to float64 at a time: 1 MiB
_SAFE_NORM = (1e-18, 1e18)  # beyond these, products with a unit vector may leave float32's range
_SQUARE_RANGE = (1e-280, 1e300)  # squared norms that float64 holds with full precision
_WORTH_GATHERING = 0.75  # of the pool: of more rows than that a pass over all in their order is as fast


_may_use_gpu: ContextVar[bool] = ContextVar("may_use_gpu", default=True)


@contextmanager
def screened_as(device: str) -> Iterator[None]:
    """Within this a GPU screens no matrix where `device`, that of the settings, is cpu."""
    before = _may_use_gpu.set(device != "cpu")
    try:
        yield
    finally:
        _may_use_gpu.reset(before)


class UnitRows:
    """The rows of a pool as unit vectors, without ever storing them so.

    num_rows, k  shape of the pool
    nodes        (N,) bool, rows that are not zero; a zero row has cosine 0 with everything
    margin       the most by which `cosines` may differ from `exact_cosines`
    most_ahead   directions that are worth a place in a pass though they may not be needed
    """

    def __init__(
        self,
        pool: np.ndarray | torch.Tensor,
        block_values: int = BLOCK_VALUES,
        what: str = "pool gradients",
        quantise: bool | None = None,
        device: str | None = None,
        progress: Callable[[int], None] = lambda _: None,
        coarse: bool = True,
        usable: Mask | None = None,
    ) -> None:
        """Read `pool` (N, k) once, for its norms. float16, bfloat16, float32 or float64; a memory map stays one.

        `what` names the matrix in errors; `block_values` are converted at a time, and change nothing else. Cosines are
        screened on a GPU if the matrix fits there (`device` names one, or "cpu" for the same code without); else in an
        8-bit copy in memory if the matrix is a memory map that does not fit (`quantise` says whether) and a `coarse`
        screen will do, which it does not where errors add up from step to step; else in the matrix itself. None of this
        changes an exact value. `progress` is told of rows read, from any thread.

        With `usable` (N,) bool, rows that are to count as zero where it is false, `pool` may be as a store holds it:
        int8 too, or uint8 (N, k/8) of signs (`coarse_rows.py`).

        Raises MatrixError if the shape or dtype is another, or a row holds NaN or Inf.
        """
        self._tensor = as_tensor(pool, what, *(() if usable is None else STORED))
        self.num_rows, self.k = len(self._tensor), width_of(self._tensor)
        self._block_rows = max(1, block_values // self.k)
        num_bytes = self._tensor.numel() * self._tensor.element_size()
        on = _device_for(num_bytes) if device is None and quantise is None else device
        exceeds = mapping_of(pool) is not None and not fits_in_memory(num_bytes)
        self._mapped = mapped_rows(pool) if exceeds else None
        if quantise is None:
            copied = Quantised.num_bytes(self.num_rows, self.k)
            quantise = coarse and on is None and exceeds and copied < num_bytes and fits_in_memory(copied)
        copy = Quantised(self.num_rows, self.k) if quantise else None
        norms = self._norms(what, copy, progress)
        if usable is not None:
            norms *= usable
        self.nodes: Mask = norms > 0
        self._inverse_norms = np.divide(1.0, norms, out=np.zeros_like(norms), where=self.nodes)
        outside = self.nodes & ((norms < _SAFE_NORM[0]) | (norms > _SAFE_NORM[1]))
        scale_first = self._tensor.dtype == torch.float64 or bool(outside.any())
        self._screen: Screen
        stored = Stored(self._tensor, self._inverse_norms, scale_first, self._mapped)
        on_device = None if on is None else _held_on(on, stored, asked=device is not None)
        source = copy or stored
        self._screen = on_device or InMemory(source, self.k, max(1, block_values // source.width))
        self.margin = self._screen.error
        self.most_ahead = 0 if self._screen.is_cheap else MOST_AHEAD

    @property
    def norms(self) -> Floats:
        """(N,) the rows' lengths in the matrix; 0 for a zero row."""
        return np.divide(1.0, self._inverse_norms, out=np.zeros(self.num_rows), where=self.nodes)

    def cosines(self, direction: Floats, rows: Rows | None = None) -> Singles:
        """Cosine of every row, or of `rows` (n,), with the unit vector `direction` (k,): (n,), within `margin` each.

        Several directions, the rows of (c, k), give (c, n) and take one pass together.
        """
        directions = torch.from_numpy(np.atleast_2d(direction).astype(np.float32))
        if rows is None:
            found = self._screen.cosines(directions, None).numpy()
        elif len(rows) > _WORTH_GATHERING * self.num_rows:
            found = self._screen.cosines(directions, None).numpy()[:, rows]
        else:
            found = self._screen.cosines(directions, torch.from_numpy(rows)).numpy()
        return found[0] if direction.ndim == 1 else found

    def rough_units(self, rows: Rows) -> Singles:
        """The unit vectors (n, k) of `rows` (n,) as the screen knows them, for guesses."""
        with single_threaded_torch():
            return self._screen.units(torch.from_numpy(rows)).numpy()

    def exact_cosines(self, rows: Rows, direction: Floats) -> Floats:
        """Cosine of each of `rows` (n,) with the unit vector `direction` (k,) in float64; equal rows, equal bits."""
        return self.over_units(rows, lambda units: dot_rows(units, direction)[:, None])[:, 0]

    def decided_cosines(self, rows: Rows, direction: Floats, threshold: float) -> Floats:
        """As `exact_cosines` wherever a value lies near `threshold`, and screened elsewhere: (n,)."""
        cosines = self.cosines(direction, rows).astype(np.float64)
        near = np.flatnonzero(np.abs(cosines - threshold) <= self.margin + GRAIN)
        cosines[near] = self.exact_cosines(rows[near], direction)
        return cosines

    def unit(self, row: int) -> Floats:
        """The unit vector (k,) of a row; zero for a zero row."""
        return self._units(np.array([row]))[0]

    def over_units(self, rows: Rows, measure: Callable[[Floats], Floats]) -> Floats:
        """`measure`'s columns (n, c) for the unit vectors of `rows` (n,), handed to it (b, k) at a time."""
        at_once = max(1, _EXACT_VALUES // self.k)
        parts = []
        for low in range(0, len(rows), at_once):
            if self._mapped is not None and low % (64 * at_once) == 0:
                self._mapped.fetch(rows[low : low + 64 * at_once])
            parts.append(measure(self._units(rows[low : low + at_once])))
        return np.concatenate(parts) if parts else measure(np.empty((0, self.k)))

    def cosines_with(self, units: Floats) -> Floats:
        """(N, M) exact cosines of every row with the unit vectors (M, k), in as many threads as torch may use."""
        at_once, found = max(1, _EXACT_VALUES // self.k), np.empty((self.num_rows, len(units)))

        def multiply(start: int, stop: int) -> None:
            if self._mapped is not None:
                self._mapped.fetch(slice(start, stop))
            for low in range(start, stop, at_once):
                at = slice(low, min(low + at_once, stop))
                found[at] = (values_of(self._tensor[at]).numpy() * self._inverse_norms[at, None]) @ units.T

        over_stripes(self.num_rows, at_once, multiply)
        return found

    def _units(self, rows: Rows) -> Floats:
        with single_threaded_torch():
            stored = values_of(self._tensor.index_select(0, torch.from_numpy(rows))).numpy()
        return stored * self._inverse_norms[rows, None]

    def _norms(self, what: str, copy: Quantised | None, progress: Callable[[int], None]) -> Floats:
        squares = np.empty(self.num_rows)
        block_rows = min(self._block_rows, max(1, _EXACT_VALUES // self.k))

        def measure(start: int, stop: int) -> None:
            if self._mapped is not None:
                self._mapped.fetch(slice(start, stop))
            for low in range(start, stop, block_rows):
                block = values_of(self._tensor[low : min(low + block_rows, stop)]).numpy()
                with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                    ours = squares[low : low + len(block)] = dot_rows(block, block)
                    if copy is not None:  # rows that are refused below may be put as anything
                        copy.put(low, np.nan_to_num(block / np.sqrt(np.where(ours > 0, ours, 1.0))[:, None]))
            progress(stop - start)

        over_stripes(self.num_rows, block_rows, measure)
        suspect = np.flatnonzero(~((squares >= _SQUARE_RANGE[0]) & (squares <= _SQUARE_RANGE[1])))
        broken = [int(row) for row in suspect if first_broken_rows(self._tensor[row : row + 1])]
        if broken:
            raise MatrixError(
                f"{what}: expected finite numbers, found NaN or Inf in {len(broken)} of {self.num_rows} rows,"
                f" first in row(s) {broken[:5]}; leave such rows out or set them to zero"
            )
        extreme = [int(row) for row in suspect if self._tensor[row].any()]
        if extreme:
            raise MatrixError(
                f"{what}: expected norms between 1e-140 and 1e150, found others in row(s) {extreme[:5]}; scale"
                " the rows (only their directions count)"
            )
        return np.sqrt(squares)


def _device_for(num_bytes: int) -> str | None:
    """The GPU that holds a matrix of `num_bytes` and still has room for a pass, if there is one to be used."""
    if not _may_use_gpu.get() or not torch.cuda.is_available():
        return None
    gc.collect()
    try:
        torch.cuda.empty_cache()  # torch keeps what rows were computed in, and it would count as taken
        free, _ = torch.cuda.mem_get_info()
    except RuntimeError:  # another process has the card for itself, or it is broken
        return None
    return "cuda" if free > 1.1 * num_bytes + 2**31 else None


def _held_on(device: str, stored: Stored, *, asked: bool) -> OnDevice | None:
    """The screen there; None if nobody `asked` for it and another process has taken the room meanwhile."""
    try:
        return OnDevice(stored, torch.device(device))
    except RuntimeError as error:
        if asked or not tells_of_memory(error):
            raise
        return None
