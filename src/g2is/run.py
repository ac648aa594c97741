"""A run's folder: its settings, what it selected, how long its stages took.

config.yaml               every setting, defaults spelled out; `g2is run` replays it
selection.parquet         the selection, in order, with the reason for each row
scores.parquet            every pool row's similarity to the core knowledge
walk.json                 how the walk went: budgets, dry components, conflicts
selected.jsonl            the selected examples' original lines
selected.messages.jsonl   the same as messages
set_aside.jsonl           rows that cannot be nodes, with the reason (if there are any)
summary.json              counts, seconds by stage, peak memory of the last sitting
"""

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from g2is.config import Section, dump, load
from g2is.progress import Progress, Reporter
from g2is.selection.record import Walk
from g2is.store.files import remove, write_atomically, write_json
from g2is.store.fingerprint import check_same, flatten
from g2is.store.lock import locked, removed_on_error

_NOT_COMPARED = ("execution.", "store", "out")  # how and where, not what


@dataclass(frozen=True)
class Selection:
    """What a run selected: pool `rows` (n,) int64 in order, their `ids`, and the folder that holds the files."""

    folder: Path
    rows: np.ndarray
    ids: Sequence[str]


@dataclass
class RunFolder:
    """An open run folder, held by this process; a reporter that also keeps each stage's time."""

    path: Path
    reporter: Reporter
    new: bool
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)

    def removed_on_error(self) -> AbstractContextManager[None]:
        """While the input is still being read: a folder that was made for unusable input goes again."""
        return removed_on_error(self.path, self.new)

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        """Open a stage and time it."""
        begin = time.monotonic()
        with self.reporter.stage(title, unit) as progress:
            yield progress
        self.seconds[title] = self.seconds.get(title, 0.0) + time.monotonic() - begin

    def notice(self, text: str) -> None:
        """Pass a notice on."""
        self.reporter.notice(text)

    def write_walk(self, walk: Walk) -> None:
        """Write how the walk went."""
        report = asdict(walk)
        del report["steps"]
        write_json(self.path / "walk.json", _without_nan(report) | {"num_selected": len(walk.steps)})

    def write_set_aside(self, ids: Sequence[str], reasons: Mapping[int, str]) -> None:
        """List the rows that cannot be nodes; no file where there are none."""
        place = self.path / "set_aside.jsonl"
        lines = [json.dumps({"row": row, "id": ids[row], "reason": reason}) + "\n" for row, reason in reasons.items()]
        if lines:
            write_atomically(place, lambda temporary: _write(temporary, "".join(lines)))
        else:
            remove(place)

    def write_summary(self) -> None:
        """Write counts, seconds by stage and peak memory."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        seconds = {title: round(value, 2) for title, value in self.seconds.items()}
        write_json(self.path / "summary.json", {**self.counts, "seconds": seconds, "peak_memory_bytes": peak})


@contextmanager
def open_run(path: Path, config: Section, reporter: Reporter) -> Iterator[RunFolder]:
    """Open the run folder at `path` for this process alone, and write its settings.

    Raises FingerprintError naming each differing key if the folder holds a run with other settings, StoreError if it
    is in use or cannot be written to.
    """
    with locked(path, "run") as new:
        record = path / "config.yaml"
        if record.exists():
            # settings of the selection bind a folder only once it holds one
            left_out = _NOT_COMPARED if (path / "selection.parquet").exists() else (*_NOT_COMPARED, "selection.")
            check_same(
                _compared(load(record), left_out),
                _compared(config.model_dump(mode="json"), left_out),
                f"{path}: expected a run",
                f"name another --out (with --store {load(record).get('store', 'STORE')} its gradients are used again)",
            )
        text = dump(config)
        write_atomically(record, lambda temporary: _write(temporary, text))
        yield RunFolder(path, reporter, new)


def selection_digest(settings: Section, *parts: bytes | str) -> str:
    """A hash of everything a selection is made from: its settings and whatever `parts` stand for the rows."""
    total = hashlib.blake2b(dump(settings).encode(), digest_size=16)
    for part in parts:
        total.update(b"\0" + (part.encode() if isinstance(part, str) else part))
    return total.hexdigest()


def _compared(values: Mapping[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in flatten(values).items() if not key.startswith(left_out)}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
