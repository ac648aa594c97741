"""`g2is report` of a comparison: its page, of the cells that are there."""

from collections.abc import Sequence
from pathlib import Path

from g2is.comparison.cells import read_cell
from g2is.comparison.evidence import Comparison, compare_cells
from g2is.comparison.files import JSON
from g2is.comparison.table import target_block
from g2is.config.commands import settings_in
from g2is.config.compare import CompareConfig
from g2is.errors import StoreError
from g2is.jobs.compare import cells_in, grid_of
from g2is.jobs.comparison_page import as_table, losses_of, write_comparison_page
from g2is.jobs.moved import SELECTIONS, comparison_above
from g2is.jobs.report import REPORT, held
from g2is.progress import Reporter
from g2is.report.selection import Beside
from g2is.store.digests import record_digests
from g2is.store.files import read_json


def report_comparison(config: CompareConfig, path: Path, out: Path | None, reporter: Reporter) -> Path:
    """Write the page of the comparison in the folder `path`, of the cells that are there; returns where it lies.

    Raises StoreError where there is no finished cell, or one is damaged.
    """
    page = path / REPORT if out is None else out
    with held(path, "comparison", out):
        comparison, remarks = comparison_in(config, path)
        write_comparison_page(page, config, path, comparison, remarks, reporter)
        if out is None:
            record_digests(path, [REPORT])
    return page


def comparison_around(path: Path) -> Beside | None:
    """What the comparison says at this budget and for this target that the selection in the folder `path` was made for.

    None for a selection of no comparison, or of one without a finished cell. Raises StoreError where one is damaged.
    """
    path, folder = path.resolve(), comparison_above(path)
    if folder is None or not (places := cells_in(folder)):
        return None
    config = settings_in(folder)
    if not isinstance(config, CompareConfig):
        return None
    for key in grid_of(config).planned():
        if key.budget is not None and key.place(folder / SELECTIONS) == path:
            comparison, _ = _comparison_of(config, folder, places)
            table = as_table(target_block(comparison, key.budget, key.target))
            return Beside(folder.name, str(key), table, losses_of(comparison, key.budget, key.target))
    return None


def comparison_in(config: CompareConfig, path: Path) -> tuple[Comparison, list[str]]:
    """The comparison of the cells that are in the folder `path`, and what its own tables say of it.

    Raises StoreError where there is no finished cell, or one is damaged.
    """
    if not (path / JSON).exists() or not (places := cells_in(path)):
        raise StoreError(f"{path}: expected a comparison with a finished cell, found none; give `g2is compare` again")
    return _comparison_of(config, path, places)


def _comparison_of(config: CompareConfig, path: Path, places: Sequence[Path]) -> tuple[Comparison, list[str]]:
    kept = read_json(path / JSON)
    cells = [read_cell(place) for place in places]
    of_all = (kept["num_pool_rows"], kept["settings"], kept["environment"], kept.get("remarks", ()))  # new in 0.2.0
    comparison = compare_cells(cells, grid_of(config), *of_all)
    return comparison, kept["notes"]
