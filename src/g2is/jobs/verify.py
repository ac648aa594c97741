"""`g2is verify`: every stored byte of a folder checked, each damaged file named with what it holds, and made anew.

What each command writes is noted where it writes it: JSON of ours by a digest of its own, other files in the
digests.json of their folder, chunks of rows in their shard's marker.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from g2is.comparison.cells import as_text, read_cell
from g2is.comparison.files import JSON
from g2is.config import Config, EvaluateConfig, MatrixWalkConfig, TrainConfig
from g2is.config.commands import SETTINGS, settings_in
from g2is.config.compare import CompareConfig
from g2is.errors import G2isError, InputError, StoreError
from g2is.evaluation.table import read_answers
from g2is.jobs.compare import compare_methods
from g2is.jobs.compared_rows import damaged_stores, make_rows_again
from g2is.jobs.costs import COSTS, WHAT, check_costs
from g2is.jobs.evaluate import ANSWERS, RESULT, evaluate
from g2is.jobs.findings import Damage, Findings, Mend, forgetting, remover
from g2is.jobs.made_from import store_identity
from g2is.jobs.moved import SELECTIONS
from g2is.jobs.report import MAP, REPORT, REPORTED
from g2is.jobs.run_folder import CHOSEN, RUN, SUMMARY, run_identity
from g2is.jobs.select import run
from g2is.jobs.select_matrices import walk_matrices
from g2is.jobs.stores_of import held_with_stores, store_of
from g2is.jobs.train import train
from g2is.jobs.trial import SECONDS
from g2is.jobs.verify_store import check_kept_beside, check_store, is_store
from g2is.jobs.verify_warmup import check_checkpoints
from g2is.jobs.work_folder import BAD_ROWS, MANIFEST
from g2is.outputs.examples import EXPORTED
from g2is.outputs.tables import SCORES, SELECTION
from g2is.progress import Progress, Reporter, Silent
from g2is.store.check_table import CHANGED
from g2is.store.digests import DIGESTS, damaged_files, noted_text
from g2is.store.files import is_sealed, read_json, write_json, write_text
from g2is.training.tune import ADAPTER, MERGED, TRAINING, damaged_adapter

_HOLDS = {
    SETTINGS: "the settings",
    MANIFEST: "what the work is made from",
    DIGESTS: "what the folder's files held",
    BAD_ROWS: "the rows that could not be used",
    SELECTION: "the selected rows, and why",
    SCORES: "the scores of all rows of the pool",
    **dict.fromkeys(EXPORTED, "the selected rows"),
    ANSWERS: "the answers to all test rows",
    RESULT: "the means over all test rows",
    COSTS: WHAT,
    REPORT: "the page that shows what was made",
    MAP: "the map of the page, as a table",
}


@dataclass(frozen=True)
class Verified:
    """What was checked of a folder: files and bytes, what is damaged, files that nothing vouches for, and what a
    stop left unfinished, which the same command takes away. `place` is the URL that `folder` stands for, if any.
    """

    folder: Path
    num_files: int
    num_bytes: int
    damages: Sequence[Damage]
    unknown: Sequence[Path]
    unfinished: Sequence[Path] = ()
    place: str = ""

    def name(self, path: Path) -> str:
        """What people know the file or folder `path` by."""
        return f"{self.place}/{path.relative_to(self.folder).as_posix()}" if self.place else str(path)


def verify(path: Path, reporter: Reporter | None = None) -> Verified:
    """Check every file of the store, run or other folder of g2is at `path`; writes nothing but locks.

    The stores of a run or comparison are held and checked with it. Raises InputError if there is no such folder,
    StoreError if one is in use.
    """
    reporter = reporter or Silent()
    if not path.is_dir() or not (is_store(path) or (path / SETTINGS).exists() or (path / DIGESTS).exists()):
        raise InputError(
            f"{path}: expected a store, or the folder of a run, training, evaluation or comparison, found"
            f" {'another folder' if path.is_dir() else 'no folder'}; check the path"
        )
    check, what = (check_store, "store") if is_store(path) else (_check_work, "folder")
    with reporter.stage("verify", "bytes") as progress, held_with_stores(path, what):
        findings = findings_in(path, progress)
        check(path, findings)
    _say_where_the_store_is(path, reporter)
    return Verified(
        path, len(findings.checked), findings.num_bytes, findings.damages, findings.unknown(), findings.unfinished
    )


def _say_where_the_store_is(path: Path, reporter: Reporter) -> None:
    with suppress(G2isError):  # settings that cannot be read: a damage, said with the others
        config = settings_in(path)
        store = store_of(path, config) if isinstance(config, Config) else path
        if isinstance(store, str):
            reporter.notice(
                f"{store}: not checked with the run, for it lies in object storage; `g2is verify {store}` checks it"
            )
        elif path.resolve() not in (store.resolve(), *store.resolve().parents):
            reporter.notice(f"{store}: the store that the run's settings name, checked with it")


def repair(found: Verified, reporter: Reporter | None = None) -> Verified:
    """Make anew what is damaged: clear it away, then go on with the folder's own command, to its end.

    Of a store by itself the next command that uses it does so. Raises StoreError naming what only a copy of one's own
    can put right, before anything is cleared away; and what that command raises.
    """
    reporter = reporter or Silent()
    path = found.folder
    check_mendable(path, found)
    with held_with_stores(path, "store" if is_store(path) else "folder"):
        for damage in found.damages:
            assert damage.mend is not None
            damage.mend()
    if not is_store(path):
        _again(settings_in(path), path, [damage.path for damage in found.damages], reporter)
    return verify(path, reporter)


def check_mendable(place: Path | str, found: Verified) -> None:
    """Raise StoreError naming what of `place` is damaged and can only be put back."""
    if lost := [damage for damage in found.damages if damage.mend is None]:
        named = "".join(f"\n  {found.name(damage.path)}: {damage.found}" for damage in lost)
        raise StoreError(
            f"{place}: expected damage that can be made good, found {len(lost)} files of which there is no second copy."
            f" Put these back first:{named}"
        )


def _again(config: Any, path: Path, damaged: list[Path], reporter: Reporter) -> None:
    config = config.model_copy(update={"out": path})
    match config:
        case Config():
            config = config.model_copy(update={"store": store_of(path, config)})
            run(config, "export", reporter)
        case MatrixWalkConfig():
            walk_matrices(config, reporter)
        case TrainConfig():
            train(config, reporter)
        case EvaluateConfig():
            evaluate(config, reporter)
        case CompareConfig():
            compare_methods(config, reporter)
            for store in damaged_stores(path, damaged):
                make_rows_again(config, store, reporter)


def findings_in(path: Path, progress: Progress) -> Findings:
    """What is found of the folder at `path`: nothing yet."""
    files = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    return Findings(path, progress, total=sum(files))


def _check_work(path: Path, findings: Findings) -> None:
    """Check the folder of a command, by what its settings say it is; where these are damaged, by what lies in it."""
    findings.read(path / SETTINGS)
    try:
        config = settings_in(path)
    except G2isError:
        config = None
    if config is None:
        findings.add(path / SETTINGS, CHANGED, _HOLDS[SETTINGS], mend=_mend(path, SETTINGS))
    _check_noted(path, findings)
    findings.sealed(path / MANIFEST, _HOLDS[MANIFEST], _mend(path, MANIFEST))
    findings.sealed(path / RESULT, _HOLDS[RESULT], _mend(path, RESULT))
    findings.sealed(path / "tasks.json", "results of tasks", remover(path / "tasks.json"))
    check_kept_beside(path, findings)
    _check_tuned(path, findings)
    if (path / MERGED).is_dir():
        findings.noted(path / MERGED, lambda _: "merged weights", lambda _: remover(path / MERGED))
    for tuned in sorted((path / "tuned").glob("*")):
        _check_tuned(tuned, findings)
        for answers in sorted(tuned.glob("*.parquet")):
            if not isinstance(config, CompareConfig) or answers.stem in config.tests:  # else it is a stranger's
                _check_readable(answers, findings)
    for cell in sorted((path / "cells").rglob("*.json")):
        _check_cell(cell, path, findings)
    for folder in sorted({file.parent for name in (SETTINGS, DIGESTS) for file in (path / SELECTIONS).rglob(name)}):
        _check_noted(folder, findings, remover(folder))  # its cell is there, or makes it anew
    for store in sorted((path / "store").glob("seed-*")):
        _check_costs(path, store, findings)
        check_store(store, findings)
    if isinstance(config, Config) and isinstance(of_run := store_of(path, config), Path):
        check_store(of_run, findings)


def _check_noted(folder: Path, findings: Findings, mend: Mend | None = None) -> None:
    """Check what a folder's digests.json notes, and its summary; `mend` is what makes it good, if it is one for all."""
    findings.noted(folder, _holds, partial(_mend, folder) if mend is None else lambda _: mend)
    summary, what = folder / SUMMARY, "counts and times"
    is_sound = findings.sealed(summary, what, mend or remover(summary))
    with suppress(G2isError):  # settings that cannot be read: said already
        if is_sound and not _is_of(read_json(summary), run_identity(folder / SETTINGS)):
            findings.add(summary, "that of another run", what, mend=mend or remover(summary))
    if (folder / SELECTION).exists() and not summary.exists():
        findings.add(summary, "gone", what, mend=mend or remover(summary))


def _check_costs(path: Path, store: Path, findings: Findings) -> None:
    """Check the times of a comparison's store, which are of that store alone."""
    forget = forgetting(path, (store / COSTS).relative_to(path).as_posix())
    is_bound = is_sealed(path / MANIFEST)
    whose = store_identity(read_json(path / MANIFEST), store.name) if is_bound else None
    check_costs(store, whose, findings, forget)


def _is_of(summary: Mapping[str, Any], run: str) -> bool:
    """Whether a summary is of this run; older ones do not say whose they are."""
    return "sittings" in summary and summary.get(RUN, run) == run


def _check_tuned(folder: Path, findings: Findings) -> None:
    """Check a tuning, if there is one: its record, and the adapter that this names."""
    if not any((folder / name).exists() for name in (TRAINING, ADAPTER, "trainer")) and folder.parent.name != "tuned":
        return
    again = remover(folder / ADAPTER, folder / TRAINING)
    if folder.parent.name == "tuned" and any((folder / name).exists() for name in (DIGESTS, TRAINING, SECONDS)):
        findings.noted(folder, _holds, partial(_forget, folder))
        findings.sealed(folder / SECONDS, "what each target's test took", _forget(folder, SECONDS))
    check_checkpoints(folder / "trainer", "a stopped training", findings)
    is_whole = findings.sealed(folder / TRAINING, "how the training went", again)
    adapter = folder / ADAPTER
    if adapter.is_dir() and not any((folder / name).exists() for name in (TRAINING, "trainer")):
        findings.add(folder / TRAINING, "gone", "how the training went", mend=again)
    if adapter.is_dir():
        for file in adapter.rglob("*"):
            findings.read(file)
    if is_whole and (adapter.is_dir() or folder.parent.name != "tuned"):  # a comparison keeps none
        for name in damaged_adapter(folder):
            found = CHANGED if (folder / name).exists() else "gone"
            findings.add(folder / name, found, "the trained adapter", mend=again)


def _forget(folder: Path, name: str) -> Mend:
    """What clears away `name` of a comparison's tuning: a cell that asks for it makes it again."""
    return remover(folder) if name == DIGESTS else forgetting(folder, name)  # notes that are gone vouch for nothing


def _check_readable(answers: Path, findings: Findings) -> None:
    if answers not in findings.checked:
        findings.read(answers)
        try:
            read_answers(answers)
        except StoreError:
            findings.add(answers, CHANGED, _HOLDS[ANSWERS], mend=remover(answers))


def _check_cell(cell: Path, out: Path, findings: Findings) -> None:
    findings.read(cell)
    try:
        found = read_cell(cell)
        text = as_text(found, cell.name)
        if json.loads(cell.read_text()).get("digest") == json.loads(text)["digest"] and cell.read_text() != text:
            raise StoreError(CHANGED)
        if found.key.place(out / "cells").with_suffix(".json") != cell:
            findings.add(cell, f"another cell, {found.key}", "a cell", mend=remover(cell))
    except StoreError:
        findings.add(cell, CHANGED, "a cell", mend=remover(cell))


def _holds(name: str) -> str:
    return _HOLDS.get(name, "")


def _mend(folder: Path, name: str) -> Mend | None:
    """What makes room for the folder's command to make `name` anew; None for what no command knows by itself."""
    if name == SETTINGS:
        text = noted_text(folder, SETTINGS)
        if damaged_files(folder, [MANIFEST, JSON]):  # both say the settings too: they may be right, and the notes wrong
            return None
        return None if text is None else partial(write_text, folder / SETTINGS, text)
    if name == DIGESTS:  # nothing it noted is vouched for
        return remover(folder / DIGESTS, *(folder / of for of in (*CHOSEN, ANSWERS, RESULT)))
    if name == MANIFEST and (folder / ANSWERS).exists():  # of an evaluation, whose result has it too
        kept = read_json(folder / RESULT).get("made_from") if is_sealed(folder / RESULT) else None
        if kept is not None:
            return partial(write_json, folder / MANIFEST, kept)
        return remover(folder / MANIFEST, folder / ANSWERS, folder / RESULT)
    if Path(name).name == COSTS:
        return forgetting(folder, name)  # times that nobody can tell again
    if name in REPORTED:
        return forgetting(folder, *REPORTED)  # `select` writes them again where it is to, else `g2is report` does
    if name == ANSWERS:
        return remover(folder / ANSWERS, folder / RESULT)
    return remover(folder / name)
