"""`g2is verify` of a store in object storage: every object is brought here, and checked as a store's file is.

Nothing that is here already is taken for what is there. It takes as much room as the store.
"""

from dataclasses import replace
from pathlib import Path

from g2is.errors import InputError
from g2is.jobs.findings import Findings
from g2is.jobs.verify import Verified, check_mendable, findings_in, verify
from g2is.jobs.verify_store import check_store, is_store
from g2is.progress import Reporter, Silent
from g2is.store.elsewhere import elsewhere
from g2is.store.objects import Bucket
from g2is.store.outline import check_there_is_one
from g2is.store.reach import reached, reached_to_write


def verify_place(place: Path | str, reporter: Reporter | None = None) -> Verified:
    """As `verify`, of a folder, or of a store at a URL; of that one nothing is written but its lock.

    Raises InputError if there is nothing at the URL, StoreError if it cannot be reached, is no store or in use.
    """
    if isinstance(place, Path):
        return verify(place, reporter)
    reporter = reporter or Silent()
    check_there_is_one(place, Bucket(place).find())
    with reached(place, reporter, whole=True) as path:
        if not is_store(path):
            raise InputError(f"{place}: expected a store, found nothing but its manifest; check the URL")
        with reporter.stage("verify", "bytes") as progress:
            findings = findings_in(path, progress)
            check_store(path, findings)
        return _verified(place, path, findings)


def repair_store(url: str, found: Verified, reporter: Reporter | None = None) -> Verified:
    """Clear away in the bucket what `found` says is damaged of the store at the URL, and verify it again.

    The next command that uses it makes that anew. Raises StoreError naming what only a copy of one's own can put
    right, or that the store may only be read, before anything is cleared away.
    """
    reporter = reporter or Silent()
    check_mendable(url, found)
    with reached_to_write(url, reporter):
        for damage in found.damages:
            assert damage.mend is not None
            damage.mend()
    return verify_place(url, reporter)


def _verified(url: str, path: Path, findings: Findings) -> Verified:
    """What was found, by the URL instead of the folder that mirrors it."""
    of = elsewhere(path)
    damages = [replace(damage, found=damage.found.replace(str(path), url)) for damage in findings.damages]
    unfinished = [*findings.unfinished, *(() if of is None else of.halves)]
    return Verified(path, len(findings.checked), findings.num_bytes, damages, findings.unknown(), unfinished, place=url)
