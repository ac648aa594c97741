"""How fast this processor multiplies matrices of 16 bits, which many do only by widening one number after another."""

import time
from functools import cache

import torch

_ROWS, _WIDTH = 64, 256


@cache
def times_slower(dtype: torch.dtype) -> float:
    """How many times as long a linear layer's pass and its way back take on this CPU in `dtype` as in float32.

    Measured once, over 64 rows of 256 coordinates: a few milliseconds, or some tens where it is slow.
    """
    return _seconds(dtype) / _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    rows, weight = torch.ones(_ROWS, _WIDTH, dtype=dtype), torch.ones(_WIDTH, _WIDTH, dtype=dtype)
    fastest = float("inf")
    for _ in range(3):  # the first one also finds the kernel; others may be at work beside it
        begun = time.perf_counter()
        torch.nn.functional.linear(rows, weight) @ weight
        fastest = min(fastest, time.perf_counter() - begun)
    return fastest
