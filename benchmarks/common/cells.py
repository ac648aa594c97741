"""The finished cells of a comparison as one Parquet file: a row a cell, with all that its JSON file says.

What is NaN is null, as in JSON. Everything is recovered bit for bit: also the loss and the means, which could be
computed again, and on another processor would be with other rounding.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from g2is.comparison.cells import Cell, Key, from_mapping, write_cell
from g2is.jobs.cells import Chosen, cell_of, job_of
from g2is.jobs.trials import Trials
from g2is.progress import Reporter
from g2is.store.files import read_json

CELLS = "cells.parquet"
_SPELLED = ("loss", "losses", "metrics")  # in which JSON has "inf" for an infinity
_NUMBERS = pa.list_(pa.float64())
SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("target", pa.string()),
        ("budget", pa.string()),  # null: of `untuned` and `full`
        ("seed", pa.int64()),  # null: of `untuned`
        ("loss", pa.float64()),  # nats an answer token over all test examples
        ("means", pa.map_(pa.string(), pa.float64())),  # of each metric
        ("num_test_examples", pa.int64()),
        ("num_rows", pa.int64()),  # null: of `untuned` and `full`, like rows
        ("num_tokens", pa.int64()),
        ("num_steps", pa.int64()),
        ("seconds", pa.map_(pa.string(), pa.float64())),  # by stage
        ("losses", _NUMBERS),  # nats an answer token of each test example
        ("num_learned", pa.list_(pa.int64())),  # its answer tokens
        ("metrics", pa.map_(pa.string(), _NUMBERS)),
        ("rows", pa.list_(pa.int64())),  # record numbers selected
    ]
)


def make_cell(place: Path, trials: Trials, number: int, key: Key, chosen: Chosen, reporter: Reporter) -> None:
    """Tune on what was `chosen` for the cell `key`, test, and write the cell into the file `place`."""
    job = job_of(trials, number, key, chosen)
    trials.bench.make(job, reporter)
    write_cell(place, cell_of(trials, key, chosen, job))


def read_cell_rows(path: Path) -> list[dict[str, Any]]:
    """The cells that `write_cell_rows` wrote, each as its JSON file says it."""
    rows = pq.read_table(path).to_pylist(maps_as_pydicts="strict")
    return [row | {name: _spelled(row[name]) for name in _SPELLED} for row in rows]


def write_cell_rows(path: Path, cells: Iterable[Mapping[str, Any]]) -> None:
    """Write `cells`, each as its JSON file says it, in the order of their keys. Raises SystemExit if one is none."""
    rows = []
    for cell in sorted(cells, key=_place):
        if list(cell) != SCHEMA.names:
            raise SystemExit(f"expected a cell of {', '.join(SCHEMA.names)}, found {', '.join(cell)}")
        rows.append({**cell, **{name: _as_numbers(cell[name]) for name in _SPELLED}})
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd", compression_level=19)


def read_cells(path: Path) -> list[Cell]:
    """The cells of a Parquet file."""
    return [from_mapping(row, path) for row in read_cell_rows(path)]


def keep_cells(path: Path, folder: Path) -> None:
    """Put the cells of a comparison's `folder` into the Parquet file; one that is there already is replaced."""
    kept = {_place(row): row for row in (read_cell_rows(path) if path.exists() else [])}
    for file in folder.rglob("*.json"):
        cell = read_json(file)
        kept[_place(cell)] = cell
    write_cell_rows(path, kept.values())


def put_cells(path: Path, folder: Path) -> None:
    """Write the cells of the Parquet file to a comparison's `folder`, each where `g2is compare` looks for it."""
    for cell in read_cells(path):
        write_cell(cell.key.place(folder).with_suffix(".json"), cell)


def _place(cell: Mapping[str, Any]) -> str:
    return str(Key(*(cell[name] for name in Key._fields)).place(Path()))


def _as_numbers(value: Any) -> Any:
    """JSON's value with infinities, which it spells, as numbers."""
    if isinstance(value, dict):
        return {name: _as_numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_as_numbers(part) for part in value]
    return float(value) if isinstance(value, str) else value


def _spelled(value: Any) -> Any:
    """The reverse."""
    if isinstance(value, dict):
        return {name: _spelled(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_spelled(part) for part in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
