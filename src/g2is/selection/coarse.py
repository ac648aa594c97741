"""Approximate cosines of pool rows in float32: from the stored matrix, from an 8-bit copy of it, or on a GPU.

A screen says by how much it may be off, and never more (`error`); what lies so near a decision that this matters is
computed anew in float64 by `similarity.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from g2is.machine.threads import over_stripes
from g2is.selection.arrays import UNIT
from g2is.selection.coarse_rows import Source, Stored, Which, select

# Added up in one float32 sum, sums of which are added next: fewer have a smaller margin but take longer.
_COLUMNS = 2048
_DEVICE_VALUES = 2**27  # converted to float32 at a time on a GPU: 512 MiB


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
    return 1.01 * num_roundings * UNIT


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


@contextmanager
def _full_precision() -> Iterator[None]:
    # TF32 keeps ten bits of each factor, far less than `rounding` promises.
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
