"""Telling that a device has no memory left from every other error."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that an allocation did not fit: a GPU's own error, or, on a CPU, one that has no class."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
