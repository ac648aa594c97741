"""What is kept of a grid that many sittings made, and what its tables say of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.cells import CELLS, read_cells
from common.kept_grid import KeptGrid
from common.places import RESULTS
from g2is.comparison.cells import write_cell
from g2is.machine.environment import environment


@pytest.fixture
def grid(tmp_path: Path) -> KeptGrid:
    """Two methods on one target, with two seeds planned."""
    return KeptGrid(tmp_path / "kept", ("pubmedqa",), ("1%",), (0, 1), (), "A remark")


def keep(grid: KeptGrid, folder: Path, seeds: dict[str, tuple[int, ...]]) -> None:
    """Keep cells of each method with these seeds; a seed that was not measured has the figures of the first."""
    kept = {cell.key: cell for cell in read_cells(RESULTS / "real" / CELLS)}
    for method, numbers in seeds.items():
        for seed in numbers:
            first = next(of for key, of in kept.items() if key[:3] == (method, "pubmedqa", "1%") and key.seed == 0)
            cell = replace(first, seed=seed)
            write_cell(cell.key.place(folder).with_suffix(".json"), cell)
    grid.keep_cells(folder, 8000, {}, environment())


def test_a_third_seed_of_a_method_that_has_one_counts_and_shows(grid: KeptGrid, tmp_path: Path) -> None:
    keep(grid, tmp_path / "cells", {"random": (0, 1, 2), "less": (0, 1, 2), "gist": (0,)})
    lines = {line.split("|")[1]: line.split("|")[-2] for line in grid.leaderboard() if line.startswith("|")}
    assert {name: lines[name] for name in ("random", "less", "gist")} == {"random": "3", "less": "3", "gist": "1"}


def test_each_target_s_table_has_what_rows_and_choosing_took(grid: KeptGrid, tmp_path: Path) -> None:
    keep(grid, tmp_path / "cells", {"random": (0, 1), "less": (0,)})
    head, _, *lines = grid.by_target()
    columns = {line.split("|")[1]: line.split("|")[-4:-1] for line in (head, *lines)}
    kept = {cell.method: cell for cell in read_cells(grid.folder / CELLS)}
    assert columns["pubmedqa, 1%"] == ["k tokens", "choose, s", "seeds"]
    for name, num_seeds in (("less", 1), ("random", 2)):
        cell = kept[name]
        assert columns[name] == [f"{cell.num_tokens / 1000:.0f}", f"{cell.seconds['select']:.1f}", str(num_seeds)]
