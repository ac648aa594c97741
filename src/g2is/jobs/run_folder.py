"""A run's folder: its settings, what it selected, how long its stages took.

config.yaml               every setting, defaults spelled out; `g2is run` replays it
selection.parquet         the selection, in order, with the reason for each row
scores.parquet            every pool row's similarity to the target or its core knowledge, where it was looked at
walk.json                 how the walk went: budgets, dry components, conflicts
picks.json                the same of another selector, in place of walk.json
selected.jsonl            the selected examples' original lines
selected.messages.jsonl   the same as messages
set_aside.jsonl           rows that cannot be nodes, with the reason (if there are any)
excluded.jsonl            rows that were left out of the pool, with the reason (if any)
bad_rows.jsonl            rows of the files that could not be used, with the reason (if they were to be skipped)
digests.json              what the files above held when they were written
summary.json              counts, lengths; of each sitting: seconds by stage, peak memory, batches too large for memory
"""

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from g2is.config import Config, Section, SelectionConfig
from g2is.config.commands import check_command, settings_in
from g2is.config.io import load, to_yaml
from g2is.config.later import without_unsaid
from g2is.config.passed_over import without_passed_over
from g2is.config.selection import deciding, with_defaults
from g2is.errors import StoreError
from g2is.jobs.moved import in_its_folder
from g2is.jobs.stages import Stage
from g2is.jobs.work_folder import BAD_ROWS, WorkFolder, open_work
from g2is.outputs.first_rows import as_html
from g2is.outputs.messages import read_messages
from g2is.outputs.tables import SCORES, SELECTION, read_table
from g2is.progress import Progress, Reporter
from g2is.selection.core import CoreKnowledge
from g2is.selection.record import Picks, Walk
from g2is.store.digests import record_digests, record_presence, unnoted_files
from g2is.store.files import has_digest, read_json, remove, write_json, write_json_lines
from g2is.store.fingerprint import digest, flatten

if TYPE_CHECKING:
    from datasets import Dataset
    from pandas import DataFrame

SUMMARY, WALK, PICKS, SET_ASIDE = "summary.json", "walk.json", "picks.json", "set_aside.jsonl"
RUN = "run"  # the key of summary.json that says whose it is
CHOSEN = (SELECTION, SCORES, WALK, PICKS, SET_ASIDE)  # what choosing rows writes
_NOT_COMPARED = ("command", "execution.", "store", "out")  # how and where, not what; runs of before say no command
_KEPT_SECONDS = 20.0  # that a killed stage loses at most
_IDS_SHOWN, _ROWS_SHOWN = 3, 10  # of a selection, in Python


@dataclass(frozen=True, repr=False)
class Selection:
    """What a run selected, and the folder that holds the files.

    `rows` (n,) int64, the record numbers of the selected rows in the pool as it was read, in order; their `ids`; the
    `targets` they serve and the `components` of these, None for rows that were included by name.
    """

    folder: Path
    rows: np.ndarray
    ids: Sequence[str]
    targets: Sequence[str | None]
    components: Sequence[int | None]

    def __repr__(self) -> str:
        first = "".join(f", {id_!r}" for id_ in self.ids[:_IDS_SHOWN])
        more = ", …" if len(self.ids) > _IDS_SHOWN else ""
        return f"Selection({str(self.folder)!r}, {len(self.ids):,} rows{first}{more})"

    def _repr_html_(self) -> str:
        """The first rows as a table, in a notebook."""
        return as_html(self.folder / SELECTION, _ROWS_SHOWN, f"{len(self.ids):,} rows selected: {self.folder}")

    def to_dataset(self) -> "Dataset":
        """The selected examples as a `datasets.Dataset`, in order: id, messages, and tools and target if there are."""
        return read_messages(self.folder)

    def to_pandas(self) -> "DataFrame":
        """The table selection.parquet: a row for each selected one, in order, with the reasons it was taken for."""
        return read_table(self.folder / SELECTION).to_pandas()


@dataclass
class RunFolder:
    """An open run folder, held by this process; a reporter that also keeps each stage's time."""

    work: WorkFolder
    reporter: Reporter
    earlier_sittings: Sequence[Mapping[str, Any]] = ()
    earlier_counts: Mapping[str, Any] = field(default_factory=dict)
    identity: str = ""  # of the run, by which its summary is known from another's
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    split_batches: Sequence[Mapping[str, int]] = ()  # of this sitting: rows and tokens of those too large for memory

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.work.path

    def removed_on_error(self) -> AbstractContextManager[None]:
        """While the input is still being read: a folder that was made for unusable input goes again."""
        return self.work.removed_on_error()

    @contextmanager
    def stage(self, title: str, unit: str, stage: Stage | None = None) -> Iterator[Progress]:
        """Open a stage and time it; the time is kept at once, and now and then while the stage is under way.

        It is kept under the id `stage`, or of one without an id under its title.
        """
        name = title if stage is None else str(stage)
        before, begin = self.seconds.get(name, 0.0), time.monotonic()
        kept = begin

        def keep() -> None:
            nonlocal kept
            kept = time.monotonic()
            self.seconds[name] = round(before + kept - begin, 2)
            self.write_summary()

        with self.reporter.stage(title, unit) as progress:

            def kept_progress(done: int, total: int) -> None:
                progress(done, total)
                if time.monotonic() - kept > _KEPT_SECONDS:
                    keep()

            yield kept_progress
        keep()

    def notice(self, text: str) -> None:
        """Pass a notice on."""
        self.reporter.notice(text)

    def write_record(self, record: Walk | Picks, core: Mapping[str, CoreKnowledge]) -> None:
        """Write how the selection went; `core` by target, empty for another selector than the walk."""
        report = asdict(record)
        del report["steps"]
        report |= {
            "num_selected": len(record.steps),
            "core": {
                name: {
                    "num_target_rows": knowledge.num_target_rows,
                    "num_zero_rows": knowledge.num_zero_rows,
                    "variance": knowledge.variance.tolist(),
                    "mean_alignment": knowledge.mean_alignment.tolist(),
                }
                for name, knowledge in core.items()
            },
        }
        name, other = (WALK, PICKS) if isinstance(record, Walk) else (PICKS, WALK)
        write_json(self.path / name, _without_nan(report))
        remove(self.path / other)

    def write_set_aside(self, rows: Sequence[int] | np.ndarray, ids: Sequence[str], reasons: Mapping[int, str]) -> None:
        """List the rows that cannot be nodes, by position: record number and id are `rows[i]` and `ids[i]`."""
        write_json_lines(
            self.path / SET_ASIDE, ({"row": int(rows[i]), "id": ids[i], "reason": reasons[i]} for i in reasons)
        )

    def write_bad_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """List the rows of the files that could not be used."""
        write_json_lines(self.path / BAD_ROWS, rows)
        record_digests(self.path, [BAD_ROWS])

    def write_summary(self) -> dict[str, Any]:
        """Write counts, and seconds by stage and peak memory of this sitting and those before; returns this one's."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        sitting = {"seconds": self.seconds, "peak_memory_bytes": peak}
        if self.split_batches:
            sitting["split_batches"] = list(self.split_batches)
        kept = {**self.counts, RUN: self.identity, "sittings": [*self.earlier_sittings, sitting]}
        write_json(self.path / SUMMARY, kept)
        record_presence(self.path, SUMMARY)
        return {**self.counts, **sitting}


@contextmanager
def open_run(path: Path, config: Section, reporter: Reporter, *, selects: bool = True) -> Iterator[RunFolder]:
    """Open the run folder at `path` for this process alone, and write its settings.

    A folder that holds a selection belongs to the settings it was made with; where this command does not itself
    select (`selects` is false), those of the selection are not compared. Raises FingerprintError naming each differing
    key, StoreError if the folder is in use or cannot be written to.
    """
    with open_work(path, config, "run") as work:
        bound = _check_same_run(work, config, selects)
        if selects or not bound:
            work.write_settings(config)
        summary = path / SUMMARY
        earlier = read_json(summary) if summary.exists() else {}
        earlier.pop(RUN, None)
        yield RunFolder(work, reporter, earlier.pop("sittings", []), earlier, run_identity(work.settings))


def check_run(path: Path, config: Section) -> None:
    """Raise, as `open_run` would, where a selection of `config` could not be made in `path`; nothing is written there.

    FingerprintError naming each differing key, StoreError if it is a file or of another command.
    """
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path}: expected a run folder, found a file of that name; name another")
    check_command(path, type(config))
    _check_same_run(WorkFolder(path, new=False), config, selects=True)


def _check_same_run(work: WorkFolder, config: Section, selects: bool) -> bool:
    """Whether the folder holds a selection, which then must have been made with these settings."""
    if not (work.path / SELECTION).exists():
        return False
    stored = load(work.settings)
    left_out = _NOT_COMPARED if selects else (*_NOT_COMPARED, "selection.")
    there, asked = _compared(stored, left_out), _compared(config.model_dump(mode="json"), left_out)
    # runs of before say no commit of a hub's model, nor does what is only planned
    if there.get("model.revision") is None or asked.get("model.revision") is None:
        asked.pop("model.revision", None)
        there.pop("model.revision", None)
    work.check_same(
        there,
        asked,
        "a run",
        f"name another --out (with --store {stored.get('store', 'STORE')} its gradients are used again)",
    )
    return True


def settings_of(run: Path) -> Config:
    """The settings of the finished selection in the folder `run`, wherever that was moved to, and its store with it.

    Raises StoreError if it holds no selection of examples, ConfigError if its settings cannot be read.
    """
    config = settings_in(run) if (run / SELECTION).is_file() else None
    if not isinstance(config, Config):
        found = "none such" if config is None else "a walk on matrices, which has no examples"
        raise StoreError(
            f"{run}: expected the folder of a finished run, as `g2is select` and `g2is walk POOL TARGET` leave it,"
            f" found {found}"
        )
    return in_its_folder(config, run)


def unvouched(run: Path, names: Iterable[str]) -> list[str]:
    """Which of these files are in the folder `run` without a word of them in digests.json, which should have one.

    A kill may have come before it, or the notes were lost. None in the folder of an older version, which noted nothing.
    """
    return unnoted_files(run, names) if any(has_digest(run / name) for name in (WALK, PICKS)) else []


def run_identity(settings: Path) -> str:
    """A hash of what the run of these settings is about, wherever it lies and however it is executed."""
    values = _compared(load(settings), (*_NOT_COMPARED, "model.revision"))  # which runs of before do not say
    return digest(values)


def selection_digest(settings: SelectionConfig, *parts: bytes | str) -> str:
    """A hash of everything a selection is made from: its settings and whatever `parts` stand for the rows."""
    total = hashlib.blake2b(to_yaml(deciding(settings)).encode(), digest_size=16)
    for part in parts:
        total.update(b"\0" + (part.encode() if isinstance(part, str) else part))
    return total.hexdigest()


def _compared(values: Mapping[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    values = without_passed_over(with_defaults(values))
    flat = without_unsaid(flatten(_as_text(values)))
    flat = {key: value for key, value in flat.items() if not key.startswith(left_out)}
    if len(values.get("targets", ())) > 1:
        flat["targets (order)"] = ", ".join(values["targets"])  # they are walked in it
    return flat


def _as_text(value: Any) -> Any:
    """Lists as JSON, so that a name with a comma in it is not taken for two."""
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value
