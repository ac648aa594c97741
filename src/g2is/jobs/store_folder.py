"""What a store holds (`g2is store ls`), and what in it serves nobody any more (`g2is store gc`)."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import InputError, StoreError
from g2is.jobs.verify_store import is_store
from g2is.store.arrays import arrays_below, chunks_without
from g2is.store.files import read_json, remove
from g2is.store.lock import locked
from g2is.store.manifest import GRADIENTS, MANIFEST
from g2is.store.markers import markers_in
from g2is.store.plan import PLAN, read_plan

IN_WORK = 3600.0  # seconds: what was written since may be in the hands of a process that holds no lock
_KINDS = ("pool", "target")


@dataclass(frozen=True)
class Table:
    """The rows of one kind (`kind`) of a representation.

    `arrays` by name are the dtype and shape of a row, as the newest marker says; `num_planned` shards are planned and
    not stored.
    """

    representation: str
    kind: str
    num_rows: int
    num_shards: int
    num_planned: int
    num_bytes: int
    arrays: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """What lies in a store; `num_bytes` of all, the rest by what it is. `adapters` are the warm-up's, by name.

    `tokenised` are rows and bytes of each tokenised file by its name, None rows where it cannot be read; `leftovers`
    what `collect` would remove, with its bytes.
    """

    path: Path
    num_bytes: int
    tables: Sequence[Table]
    adapters: dict[str, int]
    warmup: str
    tokenised: dict[str, tuple[int | None, int]]
    leftovers: dict[Path, int]


def contents(path: Path) -> Contents:
    """List the store at `path` without locking or changing it. Raises InputError if there is none."""
    check_is_store(path)
    folders = sorted({path / GRADIENTS, *(of.parent for of in path.glob(f"*/{MANIFEST}"))})
    tables = [_table(folder, kind) for folder in folders for kind in _KINDS if (folder / kind).is_dir()]
    warmup = path / "warmup"
    finished = (warmup / "complete.json").exists()
    return Contents(
        path,
        _size(path),
        [table for table in tables if table.num_bytes],
        {epoch.name: _size(epoch) for epoch in sorted(warmup.glob("epoch-*"))},
        "finished" if finished else "unfinished" if warmup.is_dir() else "none",
        {file.name: (_num_rows(file), _size(file)) for file in sorted((path / "examples").glob("*.parquet"))},
        {leftover: _size(leftover) for leftover in _leftovers(path)},
    )


def collect(path: Path) -> dict[Path, int]:
    """Remove what serves nobody of the store at `path`; what was removed, with its bytes.

    These are partial files, shards that a stop cut short, plans all of whose shards are stored, and the checkpoints of
    a warm-up that is finished. Nothing that was written within the last hour goes, and nothing that took computing to
    finish. Raises InputError if there is no store, StoreError if it is in use or may not be written to.
    """
    check_is_store(path)
    with locked(path, "store"):
        found = {leftover: _size(leftover) for leftover in _leftovers(path)}
        for leftover in found:
            remove(leftover)
    return found


def check_is_store(path: Path) -> None:
    """Raise InputError if there is no store at `path`."""
    if is_store(path):
        return
    inside = f"; its store may be {path / 'store'}" if is_store(path / "store") else "; check the path"
    raise InputError(f"{path}: expected a store, found {'another folder' if path.is_dir() else 'no folder'}{inside}")


def _leftovers(path: Path) -> Iterator[Path]:
    """What serves nobody, but for what was written within the last hour."""
    for found in sorted({*_unserving(path)}):
        with suppress(FileNotFoundError):
            if time.time() - _newest(found) > IN_WORK:
                yield found


def _unserving(path: Path) -> Iterator[Path]:
    partial = [*path.rglob("*.partial")]
    yield from (of for of in partial if not any(other in of.parents for other in partial))
    for table in (of.parent for of in path.glob("*/*/markers")):
        stored = {int(marker.stem) for marker in markers_in(table)}
        yield from (chunk for chunk in chunks_without(table, stored) if arrays_below(table))
        with suppress(StoreError):  # a damaged plan is another command's to tell of
            plan = read_plan(table / PLAN)
            if plan is not None and set(plan.keys) <= stored:
                yield table / PLAN
    if (path / "warmup/complete.json").exists() and (path / "warmup/trainer").is_dir():
        yield path / "warmup/trainer"


def _table(folder: Path, kind: str) -> Table:
    path = folder / kind
    num_rows, arrays = 0, {}
    markers = markers_in(path)
    for marker in markers:
        with suppress(StoreError, KeyError, TypeError, AttributeError):  # `g2is verify` names damage
            found = read_json(marker)
            num_rows += found["num_rows"]
            arrays = {name: f"{of['dtype']} {of['row_shape']}" for name, of in found.get("arrays", {}).items()}
    num_planned = 0
    with suppress(StoreError):
        plan = read_plan(path / PLAN)
        num_planned = 0 if plan is None else len(set(plan.keys) - {int(marker.stem) for marker in markers})
    return Table(folder.name, kind, num_rows, len(markers), num_planned, _size(path), arrays)


def _num_rows(file: Path) -> int | None:
    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return None


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _newest(path: Path) -> float:
    return max([path.stat().st_mtime, *(file.stat().st_mtime for file in _files(path))])


def _files(path: Path) -> list[Path]:
    return [file for file in [path, *path.rglob("*")] if file.is_file()]
