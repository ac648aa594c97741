"""Which rows of a pool are nearest to the target: one pass, block by block, whatever holds the pool."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from g2is.errors import SelectionError
from g2is.selection.arrays import GRAIN, Floats, Mask, Rows
from g2is.selection.files import check_k
from g2is.selection.similarity import UnitRows


class Nearest:
    """Every pool row's highest cosine with an example of each target, from blocks that need not be kept.

    Cosines are float64's, of the stored values. A row without a direction is nearest to nothing and comes last.
    """

    def __init__(self, num_rows: int, targets: Mapping[str, np.ndarray]) -> None:
        """`targets`, by name, are rows (M, k), float16 to float64, normalised or not; those of zeros do not count.

        Raises SelectionError where a target has none that is not zero.
        """
        self._examples = {name: _units(name, rows) for name, rows in targets.items()}
        self._best = {name: np.full(num_rows, -np.inf) for name in targets}

    def look(self, places: slice | Rows, block: UnitRows) -> None:
        """Compare the pool rows at `places` (b,), which `block` (b, k) holds. Raises MatrixError if k differs."""
        every = np.arange(block.num_rows)
        for name, examples in self._examples.items():
            check_k(block.k, examples.shape[1], f"target {name!r}")
            best = block.over_units(every, partial(_best, examples))[:, 0]
            self._best[name][places] = np.where(block.nodes, best, -np.inf)

    @property
    def zero_rows(self) -> Rows:
        """The rows without a direction (n,), of those that were looked at."""
        return np.flatnonzero(next(iter(self._best.values())) == -np.inf)

    def rows(self, num: int, included: Sequence[int] = ()) -> Rows:
        """The `num` nearest rows of each target, and those `included`, ascending (n,). Ties go to the lowest row."""
        chosen: Mask = np.zeros(len(next(iter(self._best.values()))), dtype=bool)
        chosen[list(included)] = True
        for best in self._best.values():
            chosen[_highest(best, num)] = True
        return np.flatnonzero(chosen)


def _best(examples: Floats, units: Floats) -> Floats:
    """Each unit row's highest cosine with one of the `examples` (M, k), (n, 1)."""
    return np.asarray((units @ examples.T).max(axis=1)[:, None])


def _highest(values: Floats, num: int) -> Rows:
    """The `num` highest of `values` (N,); among those within GRAIN of the last one, the lowest rows."""
    if num >= len(values):
        return np.arange(len(values))
    bar = np.partition(values, len(values) - num)[len(values) - num]
    if bar == -np.inf:  # they are all that have a direction, and some that have none
        above, ties = np.flatnonzero(values > bar), np.flatnonzero(values == bar)
    else:
        above, ties = np.flatnonzero(values > bar + GRAIN), np.flatnonzero(np.abs(values - bar) <= GRAIN)
    return np.concatenate([above, ties[: num - len(above)]])


def _units(name: str, rows: np.ndarray) -> Floats:
    found = UnitRows(rows, what=f"target {name!r}", quantise=False)
    if not found.nodes.any():
        raise SelectionError(
            f"target {name!r}: expected an example that is not zero, found {found.num_rows} zero row(s), similar to"
            " nothing; use other target examples"
        )
    return found.over_units(np.flatnonzero(found.nodes), lambda units: units)
