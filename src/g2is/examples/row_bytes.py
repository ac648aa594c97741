"""How many bytes each row of an Arrow batch has."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FIXED = 8  # of a number, a date …, whatever its width


def row_bytes(batch: pa.RecordBatch | pa.Table) -> np.ndarray:
    """Return (N,) int64: bytes of each row's values once unpacked; one that repeats counts each time."""
    sizes = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        sizes += _sizes(column)
    return sizes


def _sizes(array: Any) -> np.ndarray:
    kind = array.type
    if isinstance(array, pa.ChunkedArray):
        parts = [_sizes(chunk) for chunk in array.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if isinstance(array, pa.ExtensionArray):
        return _sizes(array.storage)
    if pa.types.is_dictionary(kind):
        indices = array.indices
        found = _sizes(array.dictionary)
        at = indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        return np.where(indices.is_valid().to_numpy(zero_copy_only=False), found[at] if len(found) else 0, 0)
    if pa.types.is_struct(kind):
        return sum((_sizes(field) for field in array.flatten()), np.zeros(len(array), np.int64))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        ends = np.concatenate([[0], np.cumsum(_lengths(pc.list_value_length(array)))])
        total = np.concatenate([[0], np.cumsum(_sizes(array.flatten()))])
        return total[ends[1:]] - total[ends[:-1]]
    if any(
        of(kind) for of in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    ):
        return _lengths(pc.binary_length(array))
    if pa.types.is_nested(kind) or kind in (pa.string_view(), pa.binary_view()):
        return np.array([array.slice(index, 1).nbytes for index in range(len(array))], np.int64)
    return np.full(len(array), _FIXED, np.int64)


def _lengths(lengths: Any) -> np.ndarray:
    return lengths.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
