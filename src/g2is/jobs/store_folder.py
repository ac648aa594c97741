"""What a store holds (`g2is store ls`), and what in it serves nobody any more (`g2is store gc`)."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import InputError, StoreError
from g2is.jobs.verify_store import is_store
from g2is.progress import Reporter, Silent
from g2is.store.arrays import arrays_below, chunks_without
from g2is.store.files import read_json, remove
from g2is.store.lock import locked
from g2is.store.manifest import GRADIENTS, MANIFEST
from g2is.store.markers import markers_in
from g2is.store.outline import outlined
from g2is.store.plan import PLAN, read_plan
from g2is.store.reach import reached_to_write
from g2is.store.second_moments import SECOND_MOMENTS, kept_in
from g2is.warmup.seeds import seed_folders
from g2is.warmup.train import COMPLETE

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

    `tokenised` are rows and bytes of each tokenised file by its name, None rows where it cannot be read;
    `second_moments` bytes of each decomposed second moment, by the digest that names it; `leftovers` what `collect`
    would remove, by its path in the store, with its bytes.
    """

    place: Path | str
    num_bytes: int
    tables: Sequence[Table]
    adapters: dict[str, int]
    warmup: str
    tokenised: dict[str, tuple[int | None, int]]
    second_moments: dict[str, int]
    leftovers: dict[str, int]


def contents(place: Path | str) -> Contents:
    """List the store at `place`, a folder or URL, without locking or changing it.

    Raises InputError if there is none, StoreError if it cannot be reached.
    """
    with outlined(place) as path:
        check_is_store(path)
        folders = sorted({path / GRADIENTS, *(of.parent for of in path.glob(f"*/{MANIFEST}"))})
        tables = [_table(folder, kind) for folder in folders for kind in _KINDS if (folder / kind).is_dir()]
        warmup = path / "warmup"
        finished = (warmup / COMPLETE).exists()
        return Contents(
            place,
            _size(path),
            [table for table in tables if table.num_bytes],
            {epoch.relative_to(warmup).as_posix(): _size(epoch) for epoch in _epochs(warmup)},
            "finished" if finished else "unfinished" if warmup.is_dir() else "none",
            {file.name: (_num_rows(file), _size(file)) for file in sorted((path / "examples").glob("*.parquet"))},
            {place.name: _size(place) for place in kept_in(path / GRADIENTS / SECOND_MOMENTS)},
            _leftovers(path),
        )


def collect(place: Path | str, reporter: Reporter | None = None) -> dict[str, int]:
    """Remove what serves nobody of the store at `place`; what was removed, by its path there, with its bytes.

    These are partial files, shards that a stop cut short, plans all of whose shards are stored, and the checkpoints of
    a warm-up that is finished. Nothing that was written within the last hour goes, and nothing that took computing to
    finish. Raises InputError if there is no store, StoreError if it is in use, or may not be written to or reached.
    """
    with outlined(place) as path:
        check_is_store(path)
        before = _leftovers(path)
    with _held(place, reporter or Silent()) as path, outlined(place) as seen:
        found = _leftovers(seen)
        for name in found:
            remove(path / name)
        # what the others left half of in a bucket is gone as soon as the store is held
        return {name: size for name, size in before.items() if not os.path.lexists(seen / name)} | found


@contextmanager
def _held(place: Path | str, reporter: Reporter) -> Iterator[Path]:
    """The store's folder, held for this process, to write to."""
    if isinstance(place, Path):
        with locked(place, "store"):
            yield place
        return
    with reached_to_write(place, reporter) as path:
        yield path


def check_is_store(path: Path) -> None:
    """Raise InputError if there is no store at `path`."""
    if is_store(path):
        return
    inside = f"; its store may be {path / 'store'}" if is_store(path / "store") else "; check the path"
    raise InputError(f"{path}: expected a store, found {'another folder' if path.is_dir() else 'no folder'}{inside}")


def _leftovers(path: Path) -> dict[str, int]:
    """What serves nobody, but for what was written within the last hour: by its path in the store, with its bytes."""
    leftovers = {}
    for found in sorted({*_unserving(path)}):
        with suppress(FileNotFoundError):
            if time.time() - _newest(found) > IN_WORK:
                leftovers[found.relative_to(path).as_posix()] = _size(found)
    return leftovers


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
    for warmup in (path / "warmup", *seed_folders(path / "warmup").values()):
        if (warmup / COMPLETE).exists() and (warmup / "trainer").is_dir():
            yield warmup / "trainer"


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


def _epochs(warmup: Path) -> list[Path]:
    """The adapters that a warm-up keeps, or each of several."""
    return sorted(epoch for of in (warmup, *seed_folders(warmup).values()) for epoch in of.glob("epoch-*"))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _newest(path: Path) -> float:
    return max([path.stat().st_mtime, *(file.stat().st_mtime for file in _files(path))])


def _files(path: Path) -> list[Path]:
    return [file for file in [path, *path.rglob("*")] if file.is_file()]
