"""Paths and environment that every test shares."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from s3_server import Server

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test needs a network
if "PYTEST_XDIST_WORKER" in os.environ:  # one worker a core: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_IN_MEMORY, _ROOM = Path("/dev/shm"), 8 << 30  # 1 GB is what the folders of a whole run hold
if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM:  # a run waits for a disk a hundred times
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_IN_MEMORY))

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models beside the project; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: it lies beside the project only where g2is is developed")
    return SHARED


@pytest.fixture(scope="session")
def _s3() -> Iterator["Server"]:
    from s3_server import serving

    with serving() as server:
        yield server


@pytest.fixture
def server(_s3: "Server", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["Server"]:
    """A real S3-compatible server that answers everything, credentials for it, and an empty cache."""
    from s3_server import credentials

    from g2is.store import objects

    for name, value in credentials(_s3).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "RETRIES", 1)
    _s3.asked.clear()
    yield _s3
    _s3.mend()


# They take longest; last, one worker would be at them when the others are done.
_LONGEST = (
    *("test_tutorial.py", "test_notebook.py", "test_ray.py", "test_kill_and_resume.py", "test_kills.py"),
    *("test_adding_a_selector.py", "test_compare_workers.py", "test_killed_import.py", "test_killed_tacs.py"),
)


@pytest.hookimpl(optionalhook=True)  # `make cuda` leaves xdist out
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: a test waits for processes that it starts, and for clocks."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, and leave those out that `make long` runs."""
    if "G2IS_LONG" not in os.environ:  # all in all the tests stay under ten minutes
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes tens of seconds: `make long` runs it"))
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))


_frozen = 0  # modules that were loaded when the collector last took what there was for permanent


def pytest_runtest_teardown() -> None:
    """Spare the garbage collector what libraries load: each tuning of a model has it look at everything."""
    global _frozen
    if len(sys.modules) > _frozen + 100:
        gc.collect()
        gc.freeze()
        _frozen = len(sys.modules)
