"""A store: everything that can be used again by another target, budget or method on the same model.

One that cannot be written to serves what it holds. It is not locked then: what others add meanwhile counts when it is
whole, and nothing that counts changes.

manifest.json        fingerprint of the gradients and their layout, written first, and manifest.copy.json the same
examples/            tokenised files (Parquet), by content
warmup/              adapter and moments (`warmup/train.py`)
gradients/pool/      tables of rows (`store/matrix.py`)
gradients/target/
NAME/manifest.json   the same of another representation (hidden, embedding, lexical, a user's own), which shares nothing
NAME/pool/           with the gradients but the tokenised files
NAME/target/
NAME/adapters/      those that some have tuned on the targets (`jobs/target_adapters.py`)
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from g2is.config import ExecutionConfig
from g2is.errors import StoreError
from g2is.store.elsewhere import elsewhere, name_of
from g2is.store.files import as_json, read_json, write_json
from g2is.store.fingerprint import Fingerprint, digest
from g2is.store.given import part
from g2is.store.lock import locked, removed_on_error
from g2is.store.made_with import check_same
from g2is.store.markers import markers_in
from g2is.store.matrix import TO_WRITE, RowTable
from g2is.store.only_files import check_only_files

FORMAT = 1
MANIFEST, MANIFEST_COPY = "manifest.json", "manifest.copy.json"
_MANIFEST_PARTIAL = f".{MANIFEST}.partial"  # what a kill at the very first write leaves
GRADIENTS = "gradients"
# Any of these says that a warm-up has begun: its draw, its end, or of several the draw of one.
BEGUN = ("warmup/sample.json", "warmup/complete.json", "warmup/seed-*/sample.json")
RESERVED = ("examples", "warmup", GRADIENTS)  # folders of a store that no representation may be called
TARGET_SHARD_ROWS = 64  # targets are a few dozen rows: shards as long as a pool's would be mostly padding


Kind = Literal["pool", "target"]


@dataclass(frozen=True)
class Store:
    """An open store, held by this process; one that is not `writable` is read alone.

    `fingerprint` is that of its gradients, empty if none were asked for.
    """

    path: Path
    fingerprint: Fingerprint
    shard_rows: int
    new: bool
    writable: bool = True

    def check_writable(self, lacks: str) -> None:
        """Raise StoreError if the store cannot be written to: it `lacks` something that the command needs."""
        if not self.writable:
            raise StoreError(f"{self.name}: expected {lacks} in a store that is read-only, found none. {TO_WRITE}")

    def removed_on_error(self) -> AbstractContextManager[None]:
        """While the input is still being read: a store that was made for unusable input goes again."""
        return removed_on_error(self.path, self.new)

    def with_shards_for(self, num_rows: int) -> "Store":
        """This store with shards no longer than a pool of `num_rows` makes one, if it holds no gradients yet.

        A shard is padded to its length: a longer one would only take room. Shards up to the default stay as they are,
        for pools that grow.
        """
        most = _longest_shard(num_rows)
        if self.shard_rows <= most or _holds_rows(self.path / GRADIENTS):
            return self
        _write_manifest(self.path, {**read_json(self.path / MANIFEST), "shard_rows": most})
        return replace(self, shard_rows=most)

    @property
    def name(self) -> str:
        """What people and other machines know it by: its folder, or its URL."""
        return name_of(self.path)

    @property
    def examples(self) -> Path:
        """The folder of tokenised files."""
        return self.path / "examples"

    @property
    def warmup(self) -> Path:
        """The folder of the warm-up."""
        return self.path / "warmup"

    def table(self, kind: Kind, adapter_digests: Sequence[str]) -> RowTable:
        """The gradient rows of one kind, made with the adapters and moments that `adapter_digests` name."""
        assert self.fingerprint, "the store was opened for no gradients"
        made_with = made_with_adapters(self.fingerprint, adapter_digests)
        return self._table(self.path / GRADIENTS, kind, made_with, self.shard_rows)

    def tables(self, name: str, fingerprint: Fingerprint) -> dict[Kind, RowTable]:
        """The rows of the representation `name`, made under `fingerprint`; its folder is started if there is none.

        Like the store, it belongs to fingerprint and shard length once it holds rows. Raises FingerprintError naming
        each differing key if it holds rows made with other settings.
        """
        assert name not in RESERVED, name
        check_representation(self.path, name, fingerprint)
        folder = self.path / name
        if _holds_rows(folder):
            shard_rows = _shard_rows(folder / MANIFEST)
        else:
            shard_rows = self.shard_rows
            made_with = {"fingerprint": dict(fingerprint), "shard_rows": shard_rows}
            manifest = folder / MANIFEST
            # who is only handed jobs finds it there, and must not write beside others
            made_already = manifest.exists() and manifest.read_bytes() == as_json(made_with, MANIFEST).encode()
            if self.writable and not made_already:
                _write_manifest(folder, made_with)
        kinds: tuple[Kind, ...] = ("target", "pool")
        return {kind: self._table(folder, kind, fingerprint, shard_rows) for kind in kinds}

    def _table(self, folder: Path, kind: Kind, made_with: Fingerprint, shard_rows: int) -> RowTable:
        return RowTable(folder / kind, digest(made_with), shard_rows_of(kind, shard_rows), self.writable)


def made_with_adapters(fingerprint: Fingerprint, adapter_digests: Sequence[str]) -> Fingerprint:
    """What gradient rows are made under: the store's fingerprint, and the adapters and moments they are made with."""
    return {**fingerprint, **{f"adapter.{i}": name for i, name in enumerate(adapter_digests)}}


def shard_rows_of(kind: Kind, shard_rows: int) -> int:
    """How many rows a shard of a table of this kind has, in a store whose pool's shards have `shard_rows`."""
    return shard_rows if kind == "pool" else min(shard_rows, TARGET_SHARD_ROWS)


def shard_rows_at(path: Path, asked: int, num_rows: int) -> int:
    """How many rows a shard of the pool has in the store at `path`, or in a new one there for a pool of `num_rows`."""
    manifest = path / MANIFEST
    return _shard_rows(manifest) if manifest.exists() else min(asked, _longest_shard(num_rows))


@contextmanager
def open_store(path: Path, fingerprint: Fingerprint | None, shard_rows: int) -> Iterator[Store]:
    """Open the store at `path` for this process alone, or start it with this fingerprint and shard length.

    A store keeps the shard length it was started with: that is layout and changes no row. `fingerprint` None is for a
    run without gradients: those that the store may hold, and what they were made with, are left as they are. A store
    whose folder this user cannot write to is opened to be read, and not held; one elsewhere whoever reached it holds
    (`reach.py`). Raises
    FingerprintError naming each differing key if it holds work done with other settings, StoreError if it is in use or
    no store.
    """
    check_store(path, fingerprint)
    manifest, of = path / MANIFEST, elsewhere(path)
    if is_read_alone(path):
        check_only_files(path)
        yield Store(path, fingerprint or {}, _shard_rows(manifest), new=False, writable=False)
        return
    with locked(path, "store") if of is None else nullcontext(of.new) as new:
        check_only_files(path)
        if _holds_work(path):
            check_store(path, fingerprint)  # again: now no other process can change it
            shard_rows = _shard_rows(manifest)
        elif fingerprint is not None or not manifest.exists():
            made_with = dict(fingerprint or {})
            _write_manifest(path, {"format": FORMAT, "fingerprint": made_with, "shard_rows": shard_rows})
        yield Store(path, fingerprint or {}, shard_rows, new)


def join_store(path: Path, fingerprint: Fingerprint | None) -> Store:
    """The store at `path` for a process that makes shards of a plan in it, while who made the plan holds the store.

    Nothing of it is locked, planned or swept here. Raises StoreError if there is no store, FingerprintError naming each
    differing key if it is of other settings; `fingerprint` as of `open_store`.
    """
    check_store(path, fingerprint)
    if not (path / MANIFEST).exists():
        raise StoreError(
            f"{path}: expected the store in which the command planned its shards, found none here. Let all processes"
            " see the same file system under the same path"
        )
    return Store(path, fingerprint or {}, _shard_rows(path / MANIFEST), new=False)


def check_store(path: Path, fingerprint: Fingerprint | None) -> None:
    """Raise what `open_store` would raise of a store at `path`, without touching it."""
    manifest = path / MANIFEST
    if not manifest.exists():
        if path.is_dir() and any(entry.name not in (".lock", _MANIFEST_PARTIAL) for entry in path.iterdir()):
            raise StoreError(
                f"{path}: expected a g2is store or an empty folder, found other files; name another --store"
            )
        return
    found = read_json(manifest)
    if found.get("format") != FORMAT or not isinstance(found.get("fingerprint"), dict):
        raise StoreError(
            f"{path}: expected a store of format {FORMAT}, found format {found.get('format')}: it was made by another"
            " version of g2is. Name another --store"
        )
    if fingerprint is not None and _holds_work(path):
        check_same(found["fingerprint"], fingerprint, f"{path}: expected a store", "name another --store")


def stored_fingerprint(path: Path) -> Fingerprint:
    """What the gradients of the store at `path` are made with; empty if it holds none, and no warm-up has begun."""
    if not _holds_work(path):
        return {}
    manifest = path / MANIFEST
    return part(read_json(manifest), "fingerprint", dict, manifest)


def stored_forms(path: Path) -> tuple[Any, ...]:
    """The Γ forms that the store at `path` holds, in its order; none if it holds no gradients."""
    forms = stored_fingerprint(path).get("gradients.forms")
    return tuple(forms.split(", ")) if isinstance(forms, str) else ()


def check_representation(path: Path, name: str, fingerprint: Fingerprint) -> None:
    """Raise what `Store.tables` would raise of the store at `path`, without touching it."""
    folder = path / name
    if _holds_rows(folder):
        stored = part(read_json(folder / MANIFEST), "fingerprint", dict, folder / MANIFEST)
        check_same(stored, fingerprint, f"{folder}: expected rows of {name}", "name another --store")


def _write_manifest(folder: Path, value: Mapping[str, Any]) -> None:
    """Twice: without what rows were made under they are worth nothing, so a damaged one can be put right."""
    write_json(folder / MANIFEST, value)
    write_json(folder / MANIFEST_COPY, value)


def _longest_shard(num_rows: int) -> int:
    return max(num_rows, ExecutionConfig().shard_rows)


def _shard_rows(manifest: Path) -> int:
    num_rows = part(read_json(manifest), "shard_rows", int, manifest)
    if num_rows < 1:
        raise StoreError(f"{manifest}: expected shards of at least one row as `shard_rows`, found {num_rows}")
    return num_rows


def _holds_rows(folder: Path) -> bool:
    return any(markers_in(folder / kind) for kind in ("pool", "target"))


def _holds_work(path: Path) -> bool:
    """Whether anything was made under the fingerprint: before the warm-up has begun, a setting may still be mended."""
    return any(True for name in BEGUN for _ in path.glob(name))


def is_read_alone(path: Path) -> bool:
    """Whether there is a store at `path` that this user may not write to."""
    of = elsewhere(path)
    return (path / MANIFEST).exists() and not (os.access(path, os.W_OK) and (of is None or of.writable))
