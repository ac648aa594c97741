"""A real limit on a process's memory, as a container or a cluster's job has one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def control_group(num_bytes: int) -> Iterator[Path]:
    """A new control group that may hold `num_bytes`; skips the test where none can be made."""
    root, limit = next(
        (
            (root, limit)
            for root, limit in ((_ROOT / "memory", "memory.limit_in_bytes"), (_ROOT, "memory.max"))
            if (root / "cgroup.procs").exists()
        ),
        (_ROOT, ""),
    )
    group = root / f"g2is-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        try:
            (group / limit).write_text(str(num_bytes))
        except OSError as error:
            pytest.skip(f"control groups here have no limit on memory: {error.strerror}")
        yield group
    finally:
        with suppress(OSError):  # who failed may be in it still
            group.rmdir()


def join(group: Path) -> None:
    """Put this process into `group`: what it takes from now on counts."""
    (group / "cgroup.procs").write_text(str(os.getpid()))
