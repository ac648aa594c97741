"""A store: everything that can be used again by another target, budget or method on the same model.

manifest.json        fingerprint and layout, written first
examples/            tokenised files (Parquet), by content
warmup/              adapter and moments (`warmup/train.py`)
gradients/pool/      gradient tables (`store/matrix.py`)
gradients/target/
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from g2is.errors import StoreError
from g2is.store.files import read_json, write_json
from g2is.store.fingerprint import Fingerprint, check_same, digest
from g2is.store.lock import locked, removed_on_error
from g2is.store.matrix import GradientTable

FORMAT = 1
_MANIFEST = "manifest.json"
_MANIFEST_PARTIAL = f".{_MANIFEST}.partial"  # what a kill at the very first write leaves
_TARGET_SHARD_ROWS = 64  # targets are a few dozen rows: shards as long as a pool's would be mostly padding


@dataclass(frozen=True)
class Store:
    """An open store, held by this process."""

    path: Path
    fingerprint: Fingerprint
    shard_rows: int
    new: bool

    def removed_on_error(self) -> AbstractContextManager[None]:
        """While the input is still being read: a store that was made for unusable input goes again."""
        return removed_on_error(self.path, self.new)

    @property
    def examples(self) -> Path:
        """The folder of tokenised files."""
        return self.path / "examples"

    @property
    def warmup(self) -> Path:
        """The folder of the warm-up."""
        return self.path / "warmup"

    def table(self, kind: Literal["pool", "target"], adapter_digests: Sequence[str]) -> GradientTable:
        """The gradient rows of one kind, made with the adapters and moments that `adapter_digests` name."""
        made_with = {**self.fingerprint, **{f"adapter.{i}": name for i, name in enumerate(adapter_digests)}}
        shard_rows = self.shard_rows if kind == "pool" else min(self.shard_rows, _TARGET_SHARD_ROWS)
        return GradientTable(self.path / "gradients" / kind, digest(made_with), shard_rows)


@contextmanager
def open_store(path: Path, fingerprint: Fingerprint, shard_rows: int) -> Iterator[Store]:
    """Open the store at `path` for this process alone, or start it with this fingerprint and shard length.

    A store keeps the shard length it was started with: that is layout and changes no row. Raises FingerprintError
    naming each differing key if it holds work done with other settings, StoreError if it is in use or no store.
    """
    check_store(path, fingerprint)
    with locked(path, "store") as new:
        manifest = path / _MANIFEST
        if _holds_work(path):
            check_store(path, fingerprint)  # again: now no other process can change it
            shard_rows = int(read_json(manifest)["shard_rows"])
        else:
            write_json(manifest, {"format": FORMAT, "fingerprint": dict(fingerprint), "shard_rows": shard_rows})
        yield Store(path, fingerprint, shard_rows, new)


def check_store(path: Path, fingerprint: Fingerprint) -> None:
    """Raise what `open_store` would raise of a store at `path`, without touching it."""
    manifest = path / _MANIFEST
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
    if _holds_work(path):
        check_same(found["fingerprint"], fingerprint, f"{path}: expected a store", "name another --store")


def _holds_work(path: Path) -> bool:
    """Whether anything was made under the fingerprint: before the warm-up has begun, a setting may still be mended."""
    return any((path / "warmup" / name).exists() for name in ("sample.json", "complete.json"))
