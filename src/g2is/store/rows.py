"""Unit rows: how vectors are stored, and what is read again (`row_reader.py`) for core knowledge and walk."""

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from g2is.machine.memory import fits_in_memory
from g2is.store.files import naming_full_disk
from g2is.store.stored_as import decoded


@dataclass(frozen=True)
class UnitVectors:
    """`rows` (R, k) float16 unit vectors, zeros for a row without a direction; `norm` (R,) float32 of the vectors."""

    rows: np.ndarray
    norm: np.ndarray

    def arrays(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Both by the names that a store's table has for them."""
        return {f"{prefix}rows": self.rows, f"{prefix}norm": self.norm}


def unit_rows(vectors: np.ndarray) -> UnitVectors:
    """Scale each row of `vectors` (R, k) float32 to length 1 as float16, with its norm as float32.

    This is the one place that decides about rows without a direction: where the norm is 0, NaN or Inf the row is zeros.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.sqrt(np.einsum("rk,rk->r", vectors, vectors, dtype=np.float64)).astype(np.float32)
    usable = has_direction(norm)
    scale = np.zeros_like(norm)
    np.divide(1, norm, out=scale, where=usable)
    rows = np.where(usable[:, None], vectors, 0) * scale[:, None]
    return UnitVectors(rows.astype(np.float16), norm)


def has_direction(norm: np.ndarray) -> np.ndarray:
    """Which rows can be nodes: norm finite and above 0 (by what float32 can invert). (R,) float to (R,) bool."""
    return np.isfinite(norm) & (norm >= np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class StoredRows:
    """Rows read from a store, in the order asked for.

    `rows` is (N, C·k): float16 unit vectors, zeros where a row is set aside; where C is 1 in the form in which they are
    stored (`stored_as.py`), which may be another. `norm` (N, C) float32, one column a checkpoint, or a single one.
    `what` names such a row in the reasons. Where not all rows are held, `rows` are those at `places` (n,), ascending.
    """

    rows: np.ndarray
    norm: np.ndarray
    what: str = "gradient"
    places: np.ndarray | None = None

    @property
    def usable(self) -> np.ndarray:
        """Which rows can be nodes, (N,) bool: those with a direction under every checkpoint."""
        return np.asarray(has_direction(self.norm).all(1))

    @property
    def held_usable(self) -> np.ndarray:
        """The same of those that `rows` are."""
        return self.usable if self.places is None else self.usable[self.places]

    def units(self) -> np.ndarray:
        """The rows as unit vectors (n, C·k) float16, zeros where one is set aside."""
        units = decoded(self.rows)
        if units is not self.rows:
            units[~self.held_usable] = 0
        return units

    def unnormalized(self) -> np.ndarray:
        """The usable rows with the lengths of their vectors, (U, C·k) float32; sqrt(w_i) stays in.

        All of them are held, as float16.
        """
        num_rows, num_checkpoints = self.norm.shape
        by_checkpoint = self.rows.reshape(num_rows, num_checkpoints, -1)[self.usable].astype(np.float32)
        return (by_checkpoint * self.norm[self.usable][:, :, None]).reshape(len(by_checkpoint), -1)

    def reasons(self) -> dict[int, str]:
        """Row -> why it is set aside."""
        return reasons(self.norm, self.what)


def reasons(norm: np.ndarray, what: str) -> dict[int, str]:
    """Row -> why it is set aside, by `norm` (N, C); `what` is what has no direction."""
    return {int(row): f"{_flaw(norm[row])} {what}" for row in np.flatnonzero(~has_direction(norm).all(1))}


def room_for_rows(shape: tuple[int, int], folder: Path, dtype: np.dtype | type = np.float16) -> np.ndarray:
    """Room for rows of `dtype`: in memory if they fit, else a memory map of a file in `folder`, gone with this process.

    Where nothing can be written to `folder`, the file is one of the system's temporary ones.

    Raises OSError where the disk has no room for them either.
    """
    num_bytes = np.dtype(dtype).itemsize * shape[0] * shape[1]
    if fits_in_memory(num_bytes):
        return np.empty(shape, dtype)
    if not os.access(folder, os.W_OK):  # of a store that is read alone
        folder = Path(tempfile.gettempdir())
    # Writing to a map on a disk that is full kills a process: room is looked for, and taken where the system can.
    if shutil.disk_usage(folder).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    with naming_full_disk(folder), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        return np.memmap(file, dtype, "w+", shape=shape)


def _flaw(norms: np.ndarray) -> str:
    if np.isnan(norms).any():
        return "NaN"
    return "infinite" if np.isinf(norms).any() else "zero"
