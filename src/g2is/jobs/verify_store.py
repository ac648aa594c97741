"""Every stored byte of a store: manifests, tokenised files, the warm-up, the rows of each representation."""

import re
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import StoreError
from g2is.jobs.costs import COSTS, check_costs
from g2is.jobs.findings import Findings, Mend, forgetting, remover
from g2is.jobs.verify_warmup import check_checkpoints, check_warmups
from g2is.representations.tacs import ADAPTERS
from g2is.store.arrays import arrays_below
from g2is.store.check_table import CHANGED, check_table, fingerprints_of
from g2is.store.digests import DIGESTS
from g2is.store.files import is_sealed, read_json, write_json
from g2is.store.fingerprint import digest
from g2is.store.manifest import (
    GRADIENTS,
    MANIFEST,
    MANIFEST_COPY,
    Kind,
    made_with_adapters,
    shard_rows_of,
)
from g2is.store.markers import markers_in
from g2is.store.only_files import check_only_files
from g2is.store.plan import PLAN, read_plan
from g2is.store.second_moments import MADE_OF, SECOND_MOMENTS, flaw_of, kept_in
from g2is.training.tune import ADAPTER, TRAINING

_KINDS: tuple[Kind, ...] = ("pool", "target")
_PAGES = "a tokenised file"
_OURS = re.compile(r"[0-9a-f]{32}\.parquet")  # what a tokenised file is called
_MOMENT = "the second moment of the pool's rows, decomposed"


def is_store(path: Path) -> bool:
    """Whether the folder at `path` looks like a store."""
    return (
        any((path / name).exists() for name in (MANIFEST_COPY, "warmup", GRADIENTS))
        and not (path / "config.yaml").exists()
    )


def check_store(path: Path, findings: Findings) -> None:
    """Add to `findings` what of the store at `path` is not as it was written.

    Raises StoreError if it holds what is neither file nor folder.
    """
    check_only_files(path)
    _Store(path, findings).check()


class _Store:
    def __init__(self, path: Path, findings: Findings) -> None:
        self.path, self.findings = path, findings

    @property
    def _has_notes(self) -> bool:
        """Whether a version made the store that notes what files hold."""
        return (self.path / "examples" / DIGESTS).exists()

    def check(self) -> None:
        path, findings = self.path, self.findings
        check_tokens(path / "examples", findings)
        check_costs(path, None, findings, remover(path / COSTS))
        adapters = check_warmups(path, self._has_notes, findings)
        self._check_rows(path, path / GRADIENTS, adapters)
        check_second_moments(path / GRADIENTS / SECOND_MOMENTS, findings)
        manifests = (entry for name in (MANIFEST, MANIFEST_COPY) for entry in path.glob(f"*/{name}"))
        for folder in sorted({entry.parent for entry in manifests}):
            self._check_rows(folder, folder, [])
            for tuning in sorted((folder / ADAPTERS).glob("*")):
                self._check_tuning(tuning)

    def _check_tuning(self, folder: Path) -> None:
        """Check an adapter that was tuned on a target, which is tuned again by the command that looks at its rows."""
        check_checkpoints(folder / "trainer", "a stopped tuning on a target", self.findings)
        record, adapter, again = folder / TRAINING, folder / ADAPTER, remover(folder)
        if adapter.is_dir():
            self.findings.noted(adapter, lambda name: "an adapter tuned on a target", lambda name: again)
        if record.exists() or (adapter.is_dir() and not (folder / "trainer").exists()):
            self.findings.sealed(record, "how an adapter was tuned on a target", again)

    def _check_rows(self, of_manifest: Path, folder: Path, adapters: list[str] | None) -> None:
        """Check the tables in `folder`, whose manifest lies in `of_manifest`; of gradients made with `adapters`."""
        under = {kind: fingerprints_of(folder / kind) for kind in _KINDS}
        manifest = self._manifest(of_manifest, [name for names in under.values() for name in names], adapters)
        for kind in _KINDS:
            table = folder / kind
            self._check_plan(table / PLAN)
            if not table.is_dir() or not (markers_in(table) or arrays_below(table)):
                continue
            if manifest is None:
                self.findings.add(
                    of_manifest / MANIFEST, "gone or damaged, and no copy of it", "what rows are made under"
                )
                continue
            expected = _expected(manifest, adapters) if adapters is not None else None
            agrees = any(expected in names for names in under.values())
            told = expected if expected is not None and (agrees or not under[kind]) else next(iter(under[kind]), "")
            if expected is not None and under[kind] and not agrees:
                self.findings.add(
                    table / "markers",
                    f"rows made under {told}, while manifest and warm-up say {expected}",
                    "all rows of the table",
                )
            most = shard_rows_of(kind, int(manifest["shard_rows"]))
            for flaw in check_table(table, told, most, self.findings.read):
                ids = () if flaw.keys is None else self._ids_of(flaw.keys)
                shard = "" if flaw.shard is None else f"shard {flaw.shard} of the {kind}'s rows"
                self.findings.add(flaw.path, flaw.found, _holding(shard, flaw.num_rows), ids, flaw.mend)

    def _check_plan(self, plan: Path) -> None:
        """Check which rows make which shard, which lies there while some are missing."""
        try:
            if read_plan(plan) is None:
                return
        except StoreError:
            self.findings.add(plan, CHANGED, "which rows make which shard", mend=remover(plan))
            return
        self.findings.read(plan)
        self.findings.unfinished.append(plan)

    def _manifest(self, folder: Path, under: Sequence[str], adapters: list[str] | None) -> dict[str, Any] | None:
        """The manifest of `folder`, or its copy where that alone is sound and fits the rows; says what is not."""
        places, what = [folder / name for name in (MANIFEST, MANIFEST_COPY)], "what rows are made under"
        sound = {place: read_json(place) for place in places if place.is_file() and is_sealed(place)}
        sound = {place: of for place, of in sound.items() if isinstance(of.get("shard_rows"), int)}
        fitting = [
            place for place, of in sound.items() if not under or adapters is None or _expected(of, adapters) in under
        ]
        right = next(iter(fitting or sound), None)
        for place in places:
            self.findings.read(place)
            if right is None and place.exists():
                self.findings.add(place, f"{CHANGED}, and there is no sound copy", what)
            elif right is not None and sound.get(place) != sound[right]:
                if not place.exists() and not self._has_notes:
                    continue  # an older version made no copy
                mend = partial(write_json, place, sound[right])
                self.findings.add(place, CHANGED if place.exists() else "gone", what, mend=mend)
        return None if right is None else sound[right]

    @cached_property
    def _ids(self) -> dict[bytes, str]:
        """The id of each content key, from the tokenised files as far as these can be read."""
        found: dict[bytes, str] = {}
        for file in sorted((self.path / "examples").glob("*.parquet")):
            try:
                columns = pq.read_table(file, columns=["key", "id"], partitioning=None)
            except (OSError, pa.ArrowException):
                continue
            found |= dict(zip(columns["key"].to_pylist(), columns["id"].to_pylist(), strict=True))
        return found

    def _ids_of(self, keys: np.ndarray) -> list[str]:
        return [self._ids.get(key.tobytes(), key.tobytes().hex()) for key in keys]


def check_second_moments(folder: Path, findings: Findings) -> None:
    """Check the decompositions kept in `folder`, if any; a run that asks for one that is damaged makes it again."""
    for place in kept_in(folder):
        _check_second_moment(place, findings)


def _check_second_moment(place: Path, findings: Findings) -> None:
    again = remover(place)
    is_noted = findings.noted(place, lambda _: _MOMENT, lambda _: again)
    if is_noted and not findings.has_damage_in(place) and (flaw := flaw_of(place)):
        findings.add(place / MADE_OF, flaw, _MOMENT, mend=again)


def check_kept_beside(run: Path, findings: Findings) -> None:
    """Check what the folder of a run keeps itself where its store is read-only."""
    check_tokens(run / "examples", findings)
    check_second_moments(run / SECOND_MOMENTS, findings)


def check_tokens(folder: Path, findings: Findings) -> None:
    """Check the tokenised files in `folder`; what is damaged is made again by any command that asks for it."""
    if not folder.is_dir():
        return

    def without(name: str) -> Mend:
        if name == DIGESTS:  # nothing it noted is vouched for
            return remover(folder)
        table = name.removesuffix(".parquet").removesuffix(".bad_rows.jsonl")
        return forgetting(folder, name, f"{table}.parquet", f"{table}.bad_rows.jsonl")

    findings.noted(folder, lambda name: _rows_of(folder / name), without)
    for file in sorted(folder.glob("*.parquet")):
        if _OURS.fullmatch(file.name) and file not in findings.checked and not _pages_are_sound(file):
            findings.add(file, CHANGED, _PAGES, mend=without(file.name))


def _pages_are_sound(file: Path) -> bool:
    """Whether a tokenised file of before there were notes can be read to its end."""
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            for group in range(opened.num_row_groups):
                opened.read_row_group(group)
    except (OSError, pa.ArrowException):
        return False
    return True


def _rows_of(file: Path) -> str:
    try:
        return f"{_PAGES}: {pq.read_metadata(file).num_rows} rows"
    except (OSError, pa.ArrowException):
        return _PAGES


def _expected(manifest: dict[str, Any], adapters: list[str] | None) -> str:
    return digest(made_with_adapters(manifest.get("fingerprint") or {}, adapters or ()))


def _holding(shard: str, num_rows: int) -> str:
    return f"{shard}, {num_rows} rows" if num_rows else shard
