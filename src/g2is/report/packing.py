"""Arrays as the page's script reads them: base64 of little-endian numbers, cosines as ten-thousandths."""

import base64
import math
from typing import Any

import numpy as np

COSINE = 10_000  # a cosine of 1; -32768: none
_NONE = -32_768
XY = 65_535  # the farthest place on the map's longer side


def packed(values: np.ndarray, dtype: str) -> dict[str, str]:
    """`values` as `dtype` (u2, i2, i4, …), row by row. Numbers that it does not hold come to its nearest."""
    limits = np.iinfo(dtype)
    whole = np.clip(np.asarray(values), limits.min, limits.max).astype(np.dtype(dtype).newbyteorder("<"))
    return {"type": dtype, "base64": base64.b64encode(np.ascontiguousarray(whole).tobytes()).decode()}


def packed_cosines(values: np.ndarray) -> dict[str, str]:
    """Cosines as ten-thousandths, i2; what is no finite number as -32768."""
    known = np.isfinite(values)
    return packed(np.where(known, np.rint(np.where(known, values, 0) * COSINE), _NONE), "i2")


def packed_places(xy: np.ndarray) -> dict[str, str]:
    """Places (n, 2) on a plane, u2: the longer side from 0 to 65535, the shorter in its middle."""
    low, high = xy.min(0), xy.max(0)
    span = max(float((high - low).max()), 1e-12)
    return packed(np.rint((xy - (low + high) / 2) / span * XY + XY / 2), "u2")


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A number for the page, None where there is none."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def shortened(value: float | None, digits: int = 4) -> float | None:
    """A number for a reader: to `digits` decimals, and never to fewer than four digits that say something."""
    if not value or not math.isfinite(value):
        return rounded(value)
    return rounded(value, max(digits, 3 - math.floor(math.log10(abs(value)))))


def plain(value: Any) -> Any:
    """`value` as JSON knows it: arrays as lists, what is no number as null, all else that JSON has not as text."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return shortened(float(value), 6)
    return value if value is None else str(value)
