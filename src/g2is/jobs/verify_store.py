"""Every stored byte of a store: manifests, tokenised files, the warm-up, the rows of each representation."""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.jobs.costs import COSTS, check_costs
from g2is.jobs.findings import Findings, Mend, forgetting, remover
from g2is.model.checkpoints import NOT_COMPLETE, problem_of
from g2is.representations.tacs import ADAPTERS
from g2is.store.arrays import arrays_below
from g2is.store.check_table import CHANGED, check_table, fingerprints_of
from g2is.store.digests import DIGESTS, digest_of, record_digests
from g2is.store.files import is_sealed, read_json, write_json
from g2is.store.fingerprint import digest
from g2is.store.given import inside
from g2is.store.manifest import (
    GRADIENTS,
    MANIFEST,
    MANIFEST_COPY,
    Kind,
    made_with_adapters,
    shard_rows_of,
)
from g2is.store.markers import markers_in
from g2is.store.moments import adapter_digest
from g2is.store.only_files import check_only_files
from g2is.store.second_moments import MADE_OF, SECOND_MOMENTS, flaw_of, kept_in
from g2is.training.tune import ADAPTER, TRAINING
from g2is.warmup.imported import NAME as IMPORTED
from g2is.warmup.train import SAMPLE

_COMPLETE = "complete.json"
_KINDS: tuple[Kind, ...] = ("pool", "target")
_PAGES, _ROWS = "a tokenised file", "which rows the warm-up is trained on"
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
        adapters = self._check_warmup(path / "warmup")
        self._check_rows(path, path / GRADIENTS, adapters)
        check_second_moments(path / GRADIENTS / SECOND_MOMENTS, findings)
        manifests = (entry for name in (MANIFEST, MANIFEST_COPY) for entry in path.glob(f"*/{name}"))
        for folder in sorted({entry.parent for entry in manifests}):
            self._check_rows(folder, folder, [])
            for tuning in sorted((folder / ADAPTERS).glob("*")):
                self._check_tuning(tuning)

    def _check_warmup(self, folder: Path) -> list[str] | None:
        """The digests of the adapters that rows were made with; None where they cannot be told."""
        findings = self.findings
        check_checkpoints(folder / "trainer", "a stopped warm-up", findings)
        sample, complete = folder / SAMPLE, folder / _COMPLETE
        self._check_sample(folder)
        again = remover(*folder.glob("epoch-*"), complete, folder / "trainer")
        for epoch in sorted(folder.glob("epoch-*")):
            if (epoch / DIGESTS).exists():
                findings.noted(epoch, lambda name: "the warm-up's adapter and moments", lambda name: again)
        if any(folder.glob("epoch-*")) and not any(of.exists() for of in (complete, folder / "trainer")):
            findings.add(complete, "gone", "which adapters the warm-up kept", mend=remover(complete))
        if not findings.sealed(complete, "which adapters the warm-up kept", remover(complete)):
            return None
        record = read_json(complete)
        entries = record.get("checkpoints")
        if not isinstance(entries, list) or not all(
            isinstance(of, dict) and {"name", "digest"} <= of.keys() for of in entries
        ):
            findings.add(complete, CHANGED, "which adapters the warm-up kept", mend=remover(complete))
            return None
        if "sample_digest" in record and not (sample.is_file() and digest_of(sample) == record["sample_digest"]):
            findings.add(sample, CHANGED if sample.is_file() else "gone", "the warm-up's rows", mend=remover(sample))
        fit = [self._check_adapter(folder, inside(folder, of["name"], str(complete)), of["digest"]) for of in entries]
        return [of["digest"] for of in entries] if all(fit) else None

    def _check_sample(self, folder: Path) -> None:
        """Check the list of rows that the warm-up in `folder` is trained on: it is there, and is this store's."""
        findings, sample = self.findings, folder / SAMPLE
        again = remover(sample)  # they are drawn again
        if findings.sealed(sample, _ROWS, again):
            manifest, drawn = self.path / MANIFEST, read_json(sample)
            made_from = read_json(manifest).get("fingerprint", {}) if is_sealed(manifest) else {}
            told = {name: made_from.get(f"warmup.{name}", drawn.get(name)) for name in ("seed", "fraction")}
            if "keys" not in drawn:
                findings.add(sample, CHANGED, _ROWS, mend=again)
            elif told != {name: drawn.get(name, of) for name, of in told.items()}:
                findings.add(sample, "the draw of another store", _ROWS, mend=again)
        is_begun = (folder / "trainer").is_dir() or any(folder.glob("epoch-*"))
        if is_begun and not (folder / _COMPLETE).exists() and not sample.exists():
            findings.add(sample, "gone", _ROWS, mend=again)

    def _check_tuning(self, folder: Path) -> None:
        """Check an adapter that was tuned on a target, which is tuned again by the command that looks at its rows."""
        check_checkpoints(folder / "trainer", "a stopped tuning on a target", self.findings)
        record, adapter, again = folder / TRAINING, folder / ADAPTER, remover(folder)
        if adapter.is_dir():
            self.findings.noted(adapter, lambda name: "an adapter tuned on a target", lambda name: again)
        if record.exists() or (adapter.is_dir() and not (folder / "trainer").exists()):
            self.findings.sealed(record, "how an adapter was tuned on a target", again)

    def _check_adapter(self, folder: Path, adapter: Path, expected: str) -> bool:
        """Whether an adapter of the warm-up in `folder` is the one that its record names; says which is wrong."""
        findings, complete = self.findings, folder / _COMPLETE
        for file in adapter.glob("*"):
            findings.read(file)
        if adapter_digest(adapter) == expected:
            notes = adapter / DIGESTS
            if self._has_notes and adapter.name != IMPORTED and not notes.exists():
                names = sorted(file.name for file in adapter.iterdir())
                findings.add(
                    notes, "gone", "what the adapter's files held", mend=partial(record_digests, adapter, names)
                )
            return True
        if findings.has_damage_in(adapter):
            return False
        if (adapter / DIGESTS).exists():
            findings.add(complete, "other adapters than lie beside it", "what was kept", mend=remover(complete))
        else:
            anew = remover(adapter, complete)
            findings.add(adapter, "not the adapter and moments that were kept", "the warm-up's", mend=anew)
        return False

    def _check_rows(self, of_manifest: Path, folder: Path, adapters: list[str] | None) -> None:
        """Check the tables in `folder`, whose manifest lies in `of_manifest`; of gradients made with `adapters`."""
        under = {kind: fingerprints_of(folder / kind) for kind in _KINDS}
        manifest = self._manifest(of_manifest, [name for names in under.values() for name in names], adapters)
        for kind in _KINDS:
            table = folder / kind
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
                columns = pq.read_table(file, columns=["key", "id"])
            except (OSError, pa.ArrowException):
                continue
            found |= dict(zip(columns["key"].to_pylist(), columns["id"].to_pylist(), strict=True))
        return found

    def _ids_of(self, keys: np.ndarray) -> list[str]:
        return [self._ids.get(key.tobytes(), key.tobytes().hex()) for key in keys]


def check_checkpoints(folder: Path, holds: str, findings: Findings) -> None:
    """Check the Trainer's checkpoints in `folder`; where one goes, a stopped training goes on from the one before."""
    for checkpoint in sorted(folder.glob("checkpoint-*")):
        for file in (file for file in checkpoint.rglob("*") if file.is_file()):
            findings.read(file)
        problem = problem_of(checkpoint)
        if problem == NOT_COMPLETE:
            findings.unfinished.append(checkpoint)
        elif problem:
            findings.add(checkpoint, problem, holds, mend=remover(checkpoint))


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
        if file not in findings.checked and not _pages_are_sound(file):
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
