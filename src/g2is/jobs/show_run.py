"""`g2is show RUN`: the first rows of a selection, and how many there are of what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2is.config.commands import command_in, told_of
from g2is.errors import StoreError
from g2is.jobs.export import selection_in
from g2is.jobs.run_folder import SUMMARY, Selection
from g2is.outputs.first_rows import FirstRows, first_rows
from g2is.outputs.tables import SELECTION, read_first, stored_columns
from g2is.store.digests import damaged_files
from g2is.store.files import read_json


@dataclass(frozen=True)
class ShownRun:
    """A selection, and the counts that its run kept of it: those of `jobs/select.py`, fewer of a walk on matrices."""

    selection: Selection
    summary: dict[str, Any]

    def as_json(self, num: int) -> dict[str, Any]:
        """Counts, what each column says, and the first `num` rows."""
        table = self.selection.folder / SELECTION
        return {
            "run": str(self.selection.folder),
            "num_selected": len(self.selection.rows),
            "counts": {name: of for name, of in self.summary.items() if name not in ("run", "sittings")},
            "columns": {name: dict(told) for name, told in stored_columns(table).items()},
            "rows": read_first(table, num),
        }


def look_at_run(path: Path) -> ShownRun:
    """The finished selection in the folder `path`: it is read, and no lock is taken.

    Raises StoreError if there is none, or its table is not as it was written.
    """
    command, table = command_in(path), path / SELECTION
    if command not in ("select", "walk") or not table.is_file():
        found = {"select": "a run that has selected nothing yet", "walk": "an unfinished walk"}
        told = found.get(str(command)) or told_of(path, command)
        if path.is_file():
            told = f"a file; of files of examples `g2is inspect {path}` shows what is in them"
        raise StoreError(
            f"{path}: expected the folder of a selection, as `g2is select` and `g2is walk` leave it, found {told}"
        )
    if damaged_files(path, [SELECTION]):
        raise StoreError(
            f"{table}: expected what the run wrote, found it damaged; make it anew with `g2is verify {path} --repair`"
        )
    summary = read_json(path / SUMMARY) if (path / SUMMARY).is_file() else {}
    return ShownRun(selection_in(path), summary)


def rows_of(selection: Selection, num: int) -> FirstRows:
    """The first `num` rows of a selection, as people read them. Raises StoreError if its table cannot be read."""
    return first_rows(selection.folder / SELECTION, num)
