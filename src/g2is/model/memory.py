"""How much memory there is, and whether an error says that it was too little."""

import os
from pathlib import Path

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that an allocation did not fit: a GPU's own error, or, on a CPU, one that has no class."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def available_memory() -> int:
    """Bytes that can be filled without swapping; all that the machine has where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
