"""The highest values of many columns, gathered block by block."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class Tops:
    """Keeps, for each of `num` questions, the `most` highest values seen and where they were."""

    def __init__(self, num: int, most: int) -> None:
        self._values = np.full((num, most), -np.inf, np.float32)
        self._places = np.full((num, most), -1, np.int64)

    def add(self, values: Floats, places: Indices) -> None:
        """Take in `values` (num, b) that were seen at `places` (b,)."""
        if not len(self._values):
            return
        best, theirs = best_of_rows(values, min(self._values.shape[1], values.shape[1]))
        both = np.concatenate([self._values, theirs], 1)
        where = np.concatenate([self._places, np.where(best >= 0, places[best], -1)], 1)
        order = np.argsort(-both, axis=1, kind="stable")[:, : self._values.shape[1]]
        self._values, self._places = np.take_along_axis(both, order, 1), np.take_along_axis(where, order, 1)

    def found(self) -> tuple[Indices, Floats]:
        """Where the highest were (num, most), the highest first, and they; -1 and 0 where there were fewer."""
        return self._places, np.where(self._places >= 0, self._values, 0)


def best_of_rows(values: Floats, most: int) -> tuple[Indices, Floats]:
    """The columns of the `most` highest of each row of `values` (n, b), the highest first, and these values.

    Where a row has fewer finite values the column is -1 and the value -inf.
    """
    if not most or not values.size:
        return np.full((len(values), most), -1, np.int64), np.full((len(values), most), -np.inf, np.float32)
    columns = np.argpartition(-values, most - 1, axis=1)[:, :most]
    of_best = np.take_along_axis(values, columns, 1)
    order = np.lexsort((columns, -of_best))
    columns, of_best = np.take_along_axis(columns, order, 1), np.take_along_axis(of_best, order, 1)
    return np.where(np.isfinite(of_best), columns, -1), of_best
