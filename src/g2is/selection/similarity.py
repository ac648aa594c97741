"""Cosines of all pool rows with a direction: a float32 screen, and the float64 values that decide.

One pass over the pool's N·k stored values answers a step of the walk; the N×N graph is never made. The pass runs in
float32, because it is bound by memory and conversion, and is off by at most `margin` (a worst-case bound, below).
Whatever lies so near a threshold, or so near the best, that the margin could turn the decision, is computed anew in
float64 from the stored values. So the walk is that of a plain float64 program, whatever the block, the number of
threads or the order in which a BLAS adds.

Float64 has rounding too: whether two orthogonal rows have cosine +1e-17 or -1e-17 is chance. Differences up to
`GRAIN` are therefore no differences: a value within GRAIN below a threshold reaches it, values within GRAIN of the
best tie with it, and ties go to the lowest row.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from g2is.errors import MatrixError
from g2is.selection.files import as_tensor, first_broken_rows

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

GRAIN = 1e-12

BLOCK_VALUES = 2**18  # converted to float32 at a time: 1 MiB, half of a core's L2 cache (measured: the fastest)
_EXACT_VALUES = 2**17  # converted to float64 at a time: 1 MiB
_COLUMNS = (
    2048  # added up in one float32 sum, sums of which are added next: fewer have a smaller margin but take longer
)
_UNIT = 2.0**-24  # relative rounding error of float32
_SAFE_NORM = (1e-18, 1e18)  # beyond these, products with a unit vector may leave float32's range
_SQUARE_RANGE = (1e-280, 1e300)  # squared norms that float64 holds with full precision

_torch_threads_lock = threading.Lock()


class UnitRows:
    """The rows of a pool as unit vectors, without ever storing them so.

    num_rows, k  shape of the pool
    nodes        (N,) bool, rows that are not zero; a zero row has cosine 0 with everything
    margin       the most by which `cosines` may differ from `exact_cosines`
    """

    def __init__(
        self, pool: np.ndarray | torch.Tensor, block_values: int = BLOCK_VALUES, what: str = "pool gradients"
    ) -> None:
        """Read `pool` (N, k) once, for its norms. float16, bfloat16, float32 or float64; a memory map stays one.

        `what` names the matrix in errors; `block_values` are converted at a time, and change nothing else.

        Raises MatrixError if the shape or dtype is another, or a row holds NaN or Inf.
        """
        self._tensor = as_tensor(pool, what)
        self.num_rows, self.k = self._tensor.shape
        self._block_rows = max(1, block_values // self.k)
        # In any order of adding n products, float32 errs by at most n·u/(1 - n·u)·Σ|xᵢdᵢ| (Higham, Accuracy and
        # Stability, §3.1), and Σ|xᵢdᵢ| <= 1 for unit vectors. Beside the longest sum: one rounding for each piece, and
        # a few for bringing row, direction and result to float32.
        num_roundings = min(self.k, _COLUMNS) + -(-self.k // _COLUMNS) + 8
        self.margin = 1.01 * num_roundings * _UNIT
        norms = self._norms(what)
        self.nodes: Mask = norms > 0
        self._inverse_norms = np.divide(1.0, norms, out=np.zeros_like(norms), where=self.nodes)
        outside = self.nodes & ((norms < _SAFE_NORM[0]) | (norms > _SAFE_NORM[1]))
        self._scale_first = self._tensor.dtype == torch.float64 or bool(outside.any())

    def cosines(self, direction: Floats) -> Floats:
        """Cosine of every row with the unit vector `direction` (k,), (N,), each within `margin` of the exact one.

        Several directions, the columns of (k, c), give (N, c) and take one pass together.
        """
        out = torch.empty((self.num_rows, *direction.shape[1:]), dtype=torch.float32)
        add = torch.Tensor.addmv_ if direction.ndim == 1 else torch.Tensor.addmm_
        pieces = torch.from_numpy(direction.astype(np.float32)).split(_COLUMNS)

        def screen(start: int, stop: int) -> None:
            buffer = torch.empty(self._block_rows, self.k, dtype=torch.float32)
            for low in range(start, stop, self._block_rows):
                high = min(low + self._block_rows, stop)
                block = buffer[: high - low]
                if self._scale_first:
                    inverse = torch.from_numpy(self._inverse_norms[low:high, None])
                    block.copy_(self._tensor[low:high].double() * inverse)
                else:
                    block.copy_(self._tensor[low:high])
                sums = out[low:high].zero_()
                for columns, piece in zip(block.split(_COLUMNS, dim=1), pieces, strict=True):
                    add(sums, columns, piece)

        self._over_stripes(screen)
        cosines = out.numpy().astype(np.float64)
        if not self._scale_first:
            cosines *= self._inverse_norms if direction.ndim == 1 else self._inverse_norms[:, None]
        return cosines

    def exact_cosines(self, rows: Rows, direction: Floats) -> Floats:
        """Cosine of each of `rows` (n,) with the unit vector `direction` (k,) in float64; equal rows, equal bits."""
        return self.over_units(rows, lambda units: dot_rows(units, direction)[:, None])[:, 0]

    def unit(self, row: int) -> Floats:
        """The unit vector (k,) of a row; zero for a zero row."""
        return self._units(np.array([row]))[0]

    def over_units(self, rows: Rows, measure: Callable[[Floats], Floats]) -> Floats:
        """`measure`'s columns (n, c) for the unit vectors of `rows` (n,), handed to it (b, k) at a time."""
        at_once = max(1, _EXACT_VALUES // self.k)
        parts = [measure(self._units(rows[low : low + at_once])) for low in range(0, len(rows), at_once)]
        return np.concatenate(parts) if parts else measure(np.empty((0, self.k)))

    def _units(self, rows: Rows) -> Floats:
        with _single_threaded_torch():
            stored = self._tensor.index_select(0, torch.from_numpy(rows)).double().numpy()
        return stored * self._inverse_norms[rows, None]

    def _norms(self, what: str) -> Floats:
        squares = np.empty(self.num_rows)

        def measure(start: int, stop: int) -> None:
            for low in range(start, stop, self._block_rows):
                block = self._tensor[low : min(low + self._block_rows, stop)].double().numpy()
                with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                    squares[low : low + len(block)] = dot_rows(block, block)

        self._over_stripes(measure)
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

    def _over_stripes(self, work: Callable[[int, int], None]) -> None:
        """Do `work(start, stop)` for stripes of rows, in as many threads as torch is set to use.

        Each thread runs torch single-threaded: threads that meet at a barrier after every small block lose most of
        their time there, all of it on a machine that others use too.
        """
        stripe = self._block_rows * 8
        starts = range(0, self.num_rows, stripe)
        with _single_threaded_torch() as num_threads:
            if num_threads == 1 or len(starts) == 1:
                work(0, self.num_rows)
                return
            with ThreadPoolExecutor(min(num_threads, len(starts))) as executor:
                list(executor.map(lambda start: work(start, min(start + stripe, self.num_rows)), starts))


def dot_rows(rows: Floats, others: Floats) -> Floats:
    """Each row's product with `others`, (k,) or row by row (n, k): (n,). Equal rows give equal bits, unlike a gemv."""
    # In C order each row is one contiguous sum, whatever the layout of the matrix and the number of rows.
    return np.add.reduce(np.multiply(rows, others, order="C"), axis=1)


def near(values: Floats, thresholds: Sequence[float], margin: float) -> Mask:
    """Where a value (n,) lies within `margin` of a threshold."""
    found = np.zeros(len(values), dtype=bool)
    for threshold in thresholds:
        found |= np.abs(values - threshold) <= margin
    return found


@contextmanager
def _single_threaded_torch() -> Iterator[int]:
    # The setting is the process's, so two walks must not save and restore it across each other.
    with _torch_threads_lock:
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield num_threads
        finally:
            torch.set_num_threads(num_threads)
