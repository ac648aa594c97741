"""Every stored byte of a store's warm-up, or of each of several: the rows it is trained on, adapters, moments."""

from functools import partial
from pathlib import Path

from g2is.jobs.findings import Findings, Mend, remover
from g2is.model.checkpoints import NOT_COMPLETE, problem_of
from g2is.store.check_table import CHANGED
from g2is.store.digests import DIGESTS, digest_of, record_digests
from g2is.store.files import is_sealed, read_json
from g2is.store.given import inside
from g2is.store.manifest import MANIFEST
from g2is.store.moments import adapter_digest
from g2is.warmup.imported import NAME as IMPORTED
from g2is.warmup.seeds import seed_folders
from g2is.warmup.train import COMPLETE, SAMPLE

_KEPT, _ROWS = "which adapters the warm-up kept", "which rows the warm-up is trained on"
_OTHERS = "other adapters than lie beside it"


def check_warmups(store: Path, has_notes: bool, findings: Findings) -> list[str] | None:
    """The digests of the adapters that the rows of the store at `store` were made with; None where they cannot be told.

    `has_notes`: a version made the store that notes what files hold.
    """
    folder = store / "warmup"
    if not (places := seed_folders(folder)):
        return _Warmup(store, folder, None, has_notes, findings).check()
    found = [_Warmup(store, place, seed, has_notes, findings).check() for seed, place in places.items()]
    joined = folder / COMPLETE
    again = remover(joined)  # each of them is there, or made anew
    if not findings.sealed(joined, _KEPT, again):
        return None
    digests = [digest for of in found for digest in of or ()]
    entries = read_json(joined).get("checkpoints")
    told = [of.get("digest") if isinstance(of, dict) else None for of in entries] if isinstance(entries, list) else None
    if None in found:
        return None  # said already
    if told is None or sorted(map(str, told)) != sorted(digests):
        findings.add(joined, _OTHERS, _KEPT, mend=again)
        return None
    return list(map(str, told))


class _Warmup:
    """The warm-up in `folder`, of several the one with the seed `seed`."""

    def __init__(self, store: Path, folder: Path, seed: int | None, has_notes: bool, findings: Findings) -> None:
        self.store, self.folder, self.seed, self.has_notes, self.findings = store, folder, seed, has_notes, findings
        # what names adapters that are no longer there goes with them: that of this one, and of all together
        self.records = [folder / COMPLETE, *(() if seed is None else (folder.parent / COMPLETE,))]

    def check(self) -> list[str] | None:
        folder, findings = self.folder, self.findings
        check_checkpoints(folder / "trainer", "a stopped warm-up", findings)
        sample, complete = folder / SAMPLE, folder / COMPLETE
        self._check_sample()
        again = remover(*folder.glob("epoch-*"), *self.records, folder / "trainer")
        for epoch in sorted(folder.glob("epoch-*")):
            if (epoch / DIGESTS).exists():
                findings.noted(epoch, lambda name: "the warm-up's adapter and moments", lambda name: again)
        if any(folder.glob("epoch-*")) and not any(of.exists() for of in (complete, folder / "trainer")):
            findings.add(complete, "gone", _KEPT, mend=self._forget())
        if not findings.sealed(complete, _KEPT, self._forget()):
            return None
        record = read_json(complete)
        entries = record.get("checkpoints")
        if not isinstance(entries, list) or not all(
            isinstance(of, dict) and {"name", "digest"} <= of.keys() for of in entries
        ):
            findings.add(complete, CHANGED, _KEPT, mend=self._forget())
            return None
        if "sample_digest" in record and not (sample.is_file() and digest_of(sample) == record["sample_digest"]):
            findings.add(sample, CHANGED if sample.is_file() else "gone", "the warm-up's rows", mend=remover(sample))
        fit = [self._check_adapter(inside(folder, of["name"], str(complete)), of["digest"]) for of in entries]
        return [of["digest"] for of in entries] if all(fit) else None

    def _forget(self, *others: Path) -> Mend:
        """What removes `others`, and the records of what was kept."""
        return remover(*others, *self.records)

    def _check_sample(self) -> None:
        """Check the list of rows that the warm-up is trained on: it is there, and is this store's."""
        findings, sample = self.findings, self.folder / SAMPLE
        again = remover(sample)  # they are drawn again
        if findings.sealed(sample, _ROWS, again):
            manifest, drawn = self.store / MANIFEST, read_json(sample)
            made_from = read_json(manifest).get("fingerprint", {}) if is_sealed(manifest) else {}
            told = {name: made_from.get(f"warmup.{name}", drawn.get(name)) for name in ("seed", "fraction")}
            if self.seed is not None:
                told["seed"] = self.seed
            if "keys" not in drawn:
                findings.add(sample, CHANGED, _ROWS, mend=again)
            elif told != {name: drawn.get(name, of) for name, of in told.items()}:
                findings.add(sample, "the draw of another store", _ROWS, mend=again)
        is_begun = (self.folder / "trainer").is_dir() or any(self.folder.glob("epoch-*"))
        if is_begun and not (self.folder / COMPLETE).exists() and not sample.exists():
            findings.add(sample, "gone", _ROWS, mend=again)

    def _check_adapter(self, adapter: Path, expected: str) -> bool:
        """Whether an adapter of the warm-up is the one that its record names; says which is wrong."""
        findings, complete = self.findings, self.folder / COMPLETE
        for file in adapter.glob("*"):
            findings.read(file)
        if adapter_digest(adapter) == expected:
            notes = adapter / DIGESTS
            if self.has_notes and adapter.name != IMPORTED and not notes.exists():
                names = sorted(file.name for file in adapter.iterdir())
                findings.add(
                    notes, "gone", "what the adapter's files held", mend=partial(record_digests, adapter, names)
                )
            return True
        if findings.has_damage_in(adapter):
            return False
        if (adapter / DIGESTS).exists():
            findings.add(complete, _OTHERS, "what was kept", mend=self._forget())
        else:
            findings.add(
                adapter, "not the adapter and moments that were kept", "the warm-up's", mend=self._forget(adapter)
            )
        return False


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
