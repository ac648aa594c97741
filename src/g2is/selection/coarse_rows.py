"""What a screen reads: the stored matrix itself, or an 8-bit copy of it."""

from copy import copy
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from g2is.selection.mapped import MappedRows

Which = slice | torch.Tensor  # some rows: a range, or their indices (n,) int64

_COPIED_VALUES = 2**24  # copied to a GPU at a time
_GROUP = 128  # neighbouring coordinates that share a scale in the 8-bit copy


STORED = (torch.int8, torch.uint8)  # beside floats: multiples of unit vectors; signs, a bit each, the first the highest


def width_of(tensor: torch.Tensor) -> int:
    """k of the rows that `tensor` (N, …) holds."""
    return tensor.shape[1] * (8 if tensor.dtype == torch.uint8 else 1)


def values_of(rows: torch.Tensor) -> torch.Tensor:
    """The values (n, k) of some `rows` as float64."""
    if rows.dtype != torch.uint8:
        return rows.double()
    out = torch.empty(len(rows), width_of(rows), dtype=torch.float64, device=rows.device)
    _put_signs(rows, out)
    return out


def _put_signs(rows: torch.Tensor, out: torch.Tensor) -> None:
    """Write 1 for a bit of `rows` (n, k/8) that is set and -1 for one that is not into `out` (n, k), floats."""
    table = _SIGNS.to(out.device, out.dtype)
    torch.index_select(table, 0, rows.reshape(-1).int(), out=out.view(-1, 8))


_SIGNS = 2 * ((torch.arange(256)[:, None] >> torch.arange(7, -1, -1)) & 1) - 1  # of each byte, (256, 8)


class Source(Protocol):
    """Rows that can be had as float32.

    inverse_norms  (N,) float32, by what a product must be multiplied still; None where rows come as unit vectors
    error          the length of the longest difference between a unit vector and what is read of it
    """

    num_rows: int
    width: int

    @property
    def inverse_norms(self) -> torch.Tensor | None: ...

    @property
    def error(self) -> float: ...

    def fetch(self, which: Which) -> None:
        """Begin to bring rows to where they can be read."""
        ...

    def read(self, which: Which, out: torch.Tensor) -> None:
        """Write the rows into `out` (n, width) float32."""
        ...


class Stored:
    """The stored matrix itself, (N, k)."""

    error = 0.0

    def __init__(
        self,
        tensor: torch.Tensor,
        inverse_norms: NDArray[np.float64],
        scale_first: bool,
        mapped: MappedRows | None = None,
    ) -> None:
        """`scale_first`: bring rows to unit length in float64, because float32 cannot hold them as they are."""
        self._tensor, self._mapped = tensor, mapped
        self.num_rows, self.width = len(tensor), width_of(tensor)
        factors = torch.from_numpy(inverse_norms)
        self._first = factors if scale_first else None
        self.inverse_norms = None if scale_first else factors.float()

    def to(self, device: torch.device) -> "Stored":
        """The same on `device`, copied some rows at a time."""
        made = copy(self)
        made._mapped = None
        made._tensor = torch.empty(self._tensor.shape, dtype=self._tensor.dtype, device=device)
        at_once = max(1, _COPIED_VALUES // self.width)
        for low in range(0, self.num_rows, at_once):
            which = slice(low, min(low + at_once, self.num_rows))
            self.fetch(which)
            made._tensor[which] = self._tensor[which]
        made._first = None if self._first is None else self._first.to(device)
        made.inverse_norms = None if self.inverse_norms is None else self.inverse_norms.to(device)
        return made

    def fetch(self, which: Which) -> None:
        if self._mapped is not None:
            self._mapped.fetch(which if isinstance(which, slice) else which.numpy())

    def read(self, which: Which, out: torch.Tensor) -> None:
        rows = select(self._tensor, which)
        if rows.dtype == torch.uint8:
            _put_signs(rows, out)
        else:
            out.copy_(rows if self._first is None else rows.double() * select(self._first, which)[:, None])


class Quantised:
    """The unit vectors in 8 bits a coordinate, for a matrix that does not fit into memory.

    A group of coordinates shares a scale. Residuals are measured in float64 as rows are put, and a product with a unit
    vector is off by no more than the longest residual (Cauchy-Schwarz).
    """

    inverse_norms = None

    def __init__(self, num_rows: int, k: int) -> None:
        self.num_rows, self._k = num_rows, k
        self._num_groups = -(-k // _GROUP)
        self.width = self._num_groups * _GROUP  # the last group is filled up with zeros
        self._values = torch.zeros(num_rows, self.width, dtype=torch.int8)
        self._scales = torch.zeros(num_rows, self._num_groups)
        self._residuals = torch.zeros(num_rows, dtype=torch.float64)

    @staticmethod
    def num_bytes(num_rows: int, k: int) -> int:
        """What the copy takes: a byte a number of whole groups, a scale a group, a residual a row."""
        num_groups = -(-k // _GROUP)
        return num_rows * (num_groups * (_GROUP + 4) + 8)

    @property
    def error(self) -> float:
        """The longest residual."""
        return 1.000001 * float(self._residuals.max())

    def put(self, low: int, units: NDArray[np.float64]) -> None:
        """Keep the unit vectors `units` (n, k) of the rows from `low` on."""
        high = low + len(units)
        groups = torch.zeros(len(units), self.width, dtype=torch.float64)
        groups[:, : self._k] = torch.from_numpy(units)
        groups = groups.view(len(units), self._num_groups, _GROUP)
        scales = (groups.abs().amax(dim=2) / 127).float()
        # A scale that float32 rounded to zero would divide by it: such a group stays zero.
        divisors = torch.where(scales > 0, scales, 1.0).double()[:, :, None]
        values = (groups / divisors).round_().clamp_(-127, 127)
        self._residuals[low:high] = (groups - values * scales.double()[:, :, None]).square().sum(dim=(1, 2)).sqrt()
        self._values[low:high] = values.view(len(units), self.width).to(torch.int8)
        self._scales[low:high] = scales

    def fetch(self, which: Which) -> None:
        pass  # they are in memory

    def read(self, which: Which, out: torch.Tensor) -> None:
        out.copy_(select(self._values, which))
        out.view(len(out), self._num_groups, _GROUP).mul_(select(self._scales, which)[:, :, None])


def select(tensor: torch.Tensor, which: Which) -> torch.Tensor:
    """`which` rows of `tensor`: a view of a range, a copy of others."""
    return tensor[which] if isinstance(which, slice) else tensor.index_select(0, which)
