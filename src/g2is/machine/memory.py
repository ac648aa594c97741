"""How much memory there is, and what is said where a batch does not fit in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from g2is.errors import ModelError, first_line, tells_of_memory

_GROUPS = Path("/sys/fs/cgroup")


@contextmanager
def batches_that_fit(batch_tokens: int) -> Iterator[None]:
    """Make it a ModelError that says what to do if a batch of up to `batch_tokens` tokens does not fit in memory."""
    try:
        yield
    except Exception as error:
        if not tells_of_memory(error):
            raise
        raise ModelError(
            f"expected memory for a batch of up to {batch_tokens} tokens, found too little. Lower"
            f" execution.batch_tokens, or use a device with more ({first_line(error)})"
        ) from None


def fits_in_memory(num_bytes: int) -> bool:
    """Whether there is room for `num_bytes`, with a little left for what is done with them."""
    return 1.1 * num_bytes < available_memory()


def available_memory() -> int:
    """Bytes that can be filled without swapping: of the machine, and of the container or cluster job this runs in."""
    return max(0, min([_of_machine(), *_of_groups()]))  # a group may be above its soft limit


def _of_machine() -> int:
    """All of its memory, where it does not say what is free."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _of_groups() -> Iterator[int]:
    """What each limit on the control groups that this process is in leaves (Linux; both versions of cgroups)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            root, limits, usage, prefix = _GROUPS / "memory", ["limit_in_bytes"], "usage_in_bytes", "total_"
        elif not controllers:
            root, limits, usage, prefix = _GROUPS, ["max", "high"], "current", ""
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(root.parts)]):
            left = (_left_by(folder / f"memory.{limit}", f"memory.{usage}", prefix) for limit in limits)
            yield from (room for room in left if room is not None)


def _left_by(limit: Path, usage: str, prefix: str) -> int | None:
    """What a limit leaves; None where there is no such file, or no limit ("max")."""
    try:
        room = int(limit.read_text()) - int(limit.with_name(usage).read_text())
        stat = dict(entry.split() for entry in limit.with_name("memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # pages of files are given up when memory is asked for
    return room + sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))
