"""Kinds of arrays, and how finely float64 values are told apart; without torch, for declarations of selectors."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

# Whether two orthogonal rows have cosine +1e-17 or -1e-17 is chance: differences up to this are none (`similarity.py`).
GRAIN = 1e-12
UNIT = 2.0**-24  # relative rounding error of float32

MOST_AHEAD = 16  # directions of one pass: reading the pool takes as long as the arithmetic of some five (measured)


def dot_rows(rows: Floats, others: Floats) -> Floats:
    """Each row's product with `others`, (k,) or row by row (n, k): (n,). Equal rows give equal bits, unlike a gemv."""
    # In C order each row is one contiguous sum, whatever the layout of the matrix and the number of rows.
    return np.add.reduce(np.multiply(rows, others, order="C"), axis=1)
