"""Cells of a comparison as one Parquet file, and as the JSON files that they are again."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.cells import keep_cells, put_cells, read_cell_rows, read_cells, write_cell_rows
from common.places import ROOT
from g2is.comparison.cells import Cell, as_mapping, write_cell

COMMITTED = ROOT / "benchmarks/results/quality/cells.parquet"


def cell(seed: int | None = 0, **changes: Any) -> Cell:
    numbers = np.random.default_rng(seed or 0)
    values: dict[str, Any] = {
        "method": "g2is",
        "target": "gsm8k",
        "budget": "1%",
        "seed": seed,
        "losses": np.array([numbers.random(), math.inf, math.nan, 1 / 3]),
        "num_learned": np.array([3, 1, 0, 7]),
        "metrics": {"rouge_l": numbers.random(4), "exact_match": np.array([1.0, math.nan, 0.0, 1.0])},
        "rows": numbers.permutation(90)[:5],
        "num_tokens": 2**40 + 1,
        "num_steps": 2,
        "seconds": {"select": 0.1 + 0.2, "tune": 1e-9, "evaluate": 3.0},
    }
    return Cell(**(values | changes))


CELLS = [
    cell(2),
    cell(0),
    cell(method="untuned", budget=None, seed=None, rows=None, num_tokens=0, num_steps=0, seconds={"evaluate": 1.5}),
    cell(1, method="full", budget=None, rows=None, metrics={}),
]


def same(one: Any, other: Any) -> bool:
    """Equal in value, type, order of names and, of floats, in every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one.hex() == other.hex() if isinstance(one, float) else one == other)


def test_every_field_of_a_cell_is_recovered_bit_for_bit(tmp_path: Path) -> None:
    written = [json.loads(json.dumps(as_mapping(one))) for one in CELLS]
    write_cell_rows(tmp_path / "cells.parquet", written)
    found = {(row["method"], row["seed"]): row for row in read_cell_rows(tmp_path / "cells.parquet")}
    for one in written:
        assert same(found[one["method"], one["seed"]], one)
    assert written[0]["losses"][1:3] == ["inf", None]


def test_files_of_cells_come_back_as_the_same_bytes_where_they_were(tmp_path: Path) -> None:
    for one in CELLS:
        write_cell(one.key.place(tmp_path / "cells").with_suffix(".json"), one)
    keep_cells(tmp_path / "cells.parquet", tmp_path / "cells")
    put_cells(tmp_path / "cells.parquet", tmp_path / "again")
    before = {path.relative_to(tmp_path / "cells"): path.read_bytes() for path in (tmp_path / "cells").rglob("*.json")}
    after = {path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.json")}
    assert len(after) == len(CELLS)
    assert after == before


def test_cells_that_are_kept_later_join_the_others_and_replace_their_own(tmp_path: Path) -> None:
    kept = tmp_path / "cells.parquet"
    for folder, cells in (("first", [cell(0), cell(1)]), ("second", [cell(1, num_tokens=5), cell(2)])):
        for one in cells:
            write_cell(one.key.place(tmp_path / folder).with_suffix(".json"), one)
        keep_cells(kept, tmp_path / folder)
    assert [(one.seed, one.num_tokens) for one in read_cells(kept)] == [(0, 2**40 + 1), (1, 5), (2, 2**40 + 1)]
    before = kept.read_bytes()
    keep_cells(kept, tmp_path / "second")
    assert kept.read_bytes() == before


def test_what_is_no_cell_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    values = as_mapping(cell())
    del values["losses"]
    with pytest.raises(SystemExit, match=r"expected a cell of method.*losses"):
        write_cell_rows(tmp_path / "cells.parquet", [values])
    assert not list(tmp_path.iterdir())


def test_the_committed_cells_are_those_of_the_committed_table() -> None:
    if not COMMITTED.exists():
        pytest.skip("results are not in the source distribution")
    table = json.loads((COMMITTED.parent / "comparison.json").read_text(encoding="utf-8"))
    found = {str(one.key): one.summary() for one in read_cells(COMMITTED)}
    assert len(found) == 224 == table["num_done"]
    for summary in table["cells"]:
        one = found[next(key for key, value in found.items() if all(value[n] == summary[n] for n in KEY))]
        assert {name: one[name] for name in COUNTED} == {name: summary[name] for name in COUNTED}
        assert one["loss"] == pytest.approx(summary["loss"], rel=1e-14)


KEY = ("method", "target", "budget", "seed")
COUNTED = ("num_test_examples", "num_rows", "num_tokens", "num_steps", "seconds")
