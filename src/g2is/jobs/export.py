"""`g2is export`, and the last stage of a run: the selected examples, as original lines and as messages."""

from pathlib import Path

import numpy as np

from g2is.config import Config
from g2is.errors import InputError, StoreError
from g2is.examples.sources import describe, find_sources, source_sha256
from g2is.jobs.run_folder import RunFolder, Selection, open_run, settings_of
from g2is.jobs.stages import Stage
from g2is.outputs.examples import EXPORTED, write_selected
from g2is.outputs.tables import SELECTION, read_selection, stored_metadata
from g2is.progress import Reporter, Silent
from g2is.store.digests import damaged_files, record_digests


def export(config: Config, selection: Selection, folder: RunFolder) -> None:
    """Write the selected examples as original lines and as messages, which name the target if there are several."""
    rows = selection.rows.tolist()
    targets = dict(zip(rows, selection.targets, strict=True)) if len(config.targets) > 1 else None
    with folder.stage("export", "bytes", Stage.EXPORT) as progress:
        ids = dict(zip(rows, selection.ids, strict=True))
        write_selected(find_sources(config.pool), config.examples, ids, folder.path, progress, targets)
        record_digests(folder.path, EXPORTED)


def export_run(path: Path, reporter: Reporter | None = None) -> Selection:
    """Write the files of a finished walk again: `export` for a run folder.

    Raises StoreError if it holds no selection of examples, InputError if the pool's file has changed since.
    """
    config = settings_of(path)
    check_pool(config, path / SELECTION)
    with open_run(path, config, reporter or Silent(), selects=False) as folder:
        folder.counts |= folder.earlier_counts  # this sitting reads nothing that could be counted
        selection = selection_in(path)
        export(config, selection, folder)
    return selection


def check_pool(config: Config, table: Path) -> None:
    """Raise InputError if the pool is not the one that the selection in the file `table` was made from.

    Raises StoreError if that file is not as it was written.
    """
    if damaged := damaged_files(table.parent, [table.name]):
        raise StoreError(
            f"{table.parent / damaged[0]}: expected what the run wrote, found it damaged; make it anew with"
            f" `g2is verify {table.parent} --repair`"
        )
    pool = find_sources(config.pool)
    if stored_metadata(table).get("pool_sha256") != source_sha256(pool):
        raise InputError(
            f"{describe(pool)}: expected the pool that {table} was selected from, found the file changed. Put the old"
            " one back, or select again with another --out"
        )


def selection_in(folder: Path) -> Selection:
    """The selection that a run's folder holds. Raises StoreError if it cannot be read."""
    found = read_selection(folder / SELECTION)
    return Selection(folder, np.array(found["row"], np.int64), found["id"], found["target"], found["component"])
