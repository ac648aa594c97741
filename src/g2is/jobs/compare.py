"""`g2is compare`: methods side by side, cell by cell; a stopped comparison goes on with the next cell.

OUT/config.yaml        every setting
OUT/manifest.json      what all cells were made from; methods, budgets and seeds may be added later
OUT/store/seed-S/      the stores: warm-up sample and projection differ by seed. What has no seed lies in seed-0
OUT/selections/        a run folder for each selection: METHOD/TARGET/BUDGET/seed-S
OUT/tuned/             tunings and their tests, by content: selections of the same rows share one (`trial.py`)
OUT/cells/             a file for each finished cell: METHOD/TARGET/BUDGET/seed-S.json
OUT/comparison.*       the table of the cells so far: Markdown, CSV, JSON
OUT/report.html        its page, of the cells that were there when the command ended
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from g2is.comparison.cells import Cell, Key, key_of, read_cell, write_cell
from g2is.comparison.evidence import Comparison, compare_cells
from g2is.comparison.files import TABLES, write_comparison
from g2is.comparison.grid import Grid
from g2is.comparison.notes import notes
from g2is.config.compare import CompareConfig
from g2is.config.passed_over import passed_over
from g2is.errors import G2isError, StoreError
from g2is.jobs.cells import make_cells
from g2is.jobs.comparison_page import write_comparison_page
from g2is.jobs.custom import BUILT_IN_ONLY, Own
from g2is.jobs.made_from import OF_METHODS, of_method
from g2is.jobs.pinned import pin
from g2is.jobs.report import REPORT
from g2is.jobs.trials import Trials, open_trials
from g2is.jobs.work_folder import WorkFolder, open_work
from g2is.machine.environment import environment
from g2is.methods import FULL, RANDOM
from g2is.progress import Reporter, Silent
from g2is.store.digests import damaged_files, record_digests, record_missing
from g2is.store.fingerprint import Fingerprint, flatten
from g2is.training.tune import ADAPTER, TRAINING


def compare_methods(config: CompareConfig, reporter: Reporter | None = None, own: Own = BUILT_IN_ONLY) -> Comparison:
    """Make every cell that is not there yet, and return the comparison of all. The table is written after each cell,
    its page at the end.

    A method that cannot select, or whose tuning diverges, `full` too, does not keep the others from being compared.
    Raises a G2isError for everything a user can mend, of such methods when all else is done; finished cells stay.
    """
    reporter = reporter or Silent()
    config = pin(config, reporter)
    with open_work(config.out, config, "comparison") as work:
        with work.removed_on_error():
            trials = open_trials(config, reporter, own)
            made_of = made_from(work, config, flatten(trials.made_from))
        work.bind(made_of, config)
        grid = grid_of(config)
        comparison = _compared(config, grid, trials)
        (planned, missing), failed = missing_cells(config), dict[Key, str]()
        if config.keep_adapters:
            lacking = [of.parent for of in config.out.glob(f"tuned/*/{TRAINING}") if not (of.parent / ADAPTER).exists()]
            if lacking:
                reporter.notice(
                    f"keep_adapters: {len(lacking)} adapters were tuned before it was asked for, and not kept; another"
                    " --out tunes them again"
                )
        numbered = {number: key for number, key in enumerate(planned, start=1) if key in missing}
        with closing(make_cells(trials, numbered, len(planned), reporter)) as cells:
            for key, made in cells:
                if isinstance(made, str):
                    failed[key] = made
                    continue
                write_cell(_path(config, key), made)
                record_digests(config.out, _names(config.out, [_path(config, key)]))
                comparison = _compared(config, grid, trials)
        if config.execution.report and comparison.cells:
            write_comparison_page(config.out / REPORT, config, config.out, comparison, notes(comparison), reporter)
            record_digests(config.out, [REPORT])
        if failed:
            raise G2isError(_describe(failed, config.out))
        return comparison


def made_from(work: WorkFolder, config: CompareConfig, asked_for: Fingerprint) -> dict[str, Any]:
    """What all cells are made from: `asked_for` now, and before, those of methods that are now left out.

    Raises FingerprintError where cells that are there were made from something else.
    """
    stored = work.made_from() if work.is_bound else {}
    asked = [RANDOM, *config.methods]
    done = tuple(of_method(name) for name in asked if (config.out / "cells" / name).exists())

    def shared(values: Fingerprint) -> Fingerprint:
        kept = {key: value for key, value in values.items() if not key.startswith(OF_METHODS) or key.startswith(done)}
        return {key: value for key, value in kept.items() if key not in _passed_over(kept, done)}

    if stored:
        work.check_same(shared(stored), shared(asked_for), "a comparison")
    of_asked = tuple(map(of_method, asked))  # those without cells may have changed
    return {**{key: value for key, value in stored.items() if not key.startswith(of_asked)}, **asked_for}


def _passed_over(values: Fingerprint, of_methods: Sequence[str]) -> set[str]:
    """The keys of settings for all methods that a method passes over: once they were kept under each."""
    found = set()
    for of in of_methods:
        settings = {key.removeprefix(of): value for key, value in values.items() if key.startswith(of)}
        found |= {of + name for name in passed_over(settings)}
    return found


def _describe(failed: Mapping[Key, str], out: Path) -> str:
    """One message for all cells that failed, each reason once."""
    keys: dict[str, list[Key]] = {}
    for key, reason in failed.items():
        keys.setdefault(reason, []).append(key)
    reasons = [f"{', '.join(map(str, of_reason))}: {reason}" for reason, of_reason in keys.items()]
    return (
        f"{out}: expected every cell to be made, found {len(failed)} that cannot be; {out / 'comparison.md'} has all"
        " others. Mend what follows and give the command again (other settings of model, warm-up or tuning want"
        " another --out), or leave these methods out:\n" + "\n".join(reasons)
    )


def _in_order(config: CompareConfig) -> Iterator[Key]:
    """Cells in the order in which they are made: what is long comes last within its seed."""
    short = [method for method in config.all_methods if method != FULL]
    seen = set()
    for seed in range(config.num_seeds):
        for methods in (short, [FULL]):
            for budget in config.budgets:
                for target in config.targets:
                    for method in methods:
                        key = key_of(method, target, budget, seed)
                        if key not in seen:
                            seen.add(key)
                            yield key


def missing_cells(config: CompareConfig) -> tuple[list[Key], list[Key]]:
    """The cells that are planned, in the order in which they are made, and those of them that are not there yet."""
    planned = list(_in_order(config))
    return planned, [key for key in planned if not _path(config, key).exists()]


def grid_of(config: CompareConfig) -> Grid:
    """The cells that a comparison is to have."""
    return Grid(tuple(config.all_methods), tuple(config.targets), config.budgets, tuple(range(config.num_seeds)))


def cells_in(out: Path) -> list[Path]:
    """The files of all cells in `out` that are finished, left out ones too. Raises StoreError if one changed."""
    places = sorted((out / "cells").rglob("*.json"))
    if damaged := damaged_files(out, _names(out, places)):
        raise StoreError(
            f"{out / damaged[0]}: expected what the comparison wrote, found it changed. Put it back, or make it"
            f" anew with `g2is verify {out} --repair`"
        )
    return places


def _names(out: Path, places: Sequence[Path]) -> list[str]:
    return [place.relative_to(out).as_posix() for place in places]


def _compared(config: CompareConfig, grid: Grid, trials: Trials) -> Comparison:
    places = cells_in(config.out)
    record_missing(config.out, _names(config.out, places))
    cells = [_read_own(config, place) for place in places]
    settings = config.model_dump(mode="json", exclude={"command", "out"})
    comparison = compare_cells(cells, grid, len(trials.bench.pool), settings, environment(), trials.remarks)
    write_comparison(config.out, comparison)
    record_digests(config.out, TABLES)
    return comparison


def _read_own(config: CompareConfig, path: Path) -> Cell:
    """The cell in the file `path`. Raises StoreError if it is another one than belongs there."""
    cell = read_cell(path)
    if _path(config, cell.key) != path:
        raise StoreError(
            f"{path}: expected the cell that its place tells, found {cell.key}. Remove the file and give the command"
            " again: that cell alone is made anew"
        )
    return cell


def _path(config: CompareConfig, key: Key) -> Path:
    return key.place(config.out / "cells").with_suffix(".json")
