"""In what form a unit row lies in a store: 16 bits a coordinate, 8, or its sign alone.

float16  (R, k) float16    the row itself
int8     (R, k) int8       the row times 127 over its largest entry, rounded
sign     (R, k/8) uint8    a bit a coordinate, the first the highest; 1: not negative (QLESS, arXiv 2502.01703)

Only directions count, so neither length nor scale is kept: what is stored stands for its own unit vector. A row without
a direction is known by its norm, which lies beside it.
"""

from typing import get_args

import numpy as np

from g2is.config import Storage as Storage
from g2is.errors import StoreError

DTYPES: dict[str, np.dtype] = {"float16": np.dtype(np.float16), "int8": np.dtype(np.int8), "sign": np.dtype(np.uint8)}
BITS = {"float16": 16, "int8": 8, "sign": 1}
assert set(DTYPES) == set(BITS) == set(get_args(Storage))

_LARGEST = 127


def encoded(rows: np.ndarray, storage: Storage) -> np.ndarray:
    """`rows` (R, k) float16 in the form `storage`. Raises StoreError where k signs do not fill whole bytes."""
    if storage == "int8":
        values = rows.astype(np.float32)
        largest = np.abs(values).max(axis=1, keepdims=True)
        return np.rint(values * (_LARGEST / np.where(largest > 0, largest, 1))).astype(np.int8)
    if storage == "sign":
        check_whole_bytes(rows.shape[1])
        return np.packbits(~np.signbit(rows), axis=1)
    return rows


def check_whole_bytes(k: int) -> None:
    """Raise StoreError unless the signs of k coordinates fill whole bytes."""
    if k % 8:
        raise StoreError(
            f"gradients.storage sign: expected rows of a multiple of 8 coordinates, found {k}; set"
            " gradients.projection.dim to such a number, or store them as int8"
        )


def num_coordinates(dtype: np.dtype, width: int) -> int:
    """k of rows that have `width` numbers of `dtype` in a store."""
    return 8 * width if dtype == DTYPES["sign"] else width


def decoded(stored: np.ndarray) -> np.ndarray:
    """`stored` (R, w) in any form as unit rows (R, k) float16; zeros stay zeros."""
    if stored.dtype == DTYPES["float16"]:
        return stored
    if stored.dtype == DTYPES["sign"]:
        values = np.unpackbits(stored, axis=1).astype(np.float32) * 2 - 1
    else:
        values = stored.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.where(length > 0, length, 1)).astype(np.float16)
