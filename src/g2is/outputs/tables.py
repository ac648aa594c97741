"""selection.parquet and scores.parquet: what was chosen and how every pool row scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.config import SelectionConfig
from g2is.errors import StoreError, may_not_be_read
from g2is.outputs.columns import (
    NEVER_EMPTY,
    OF_SCORES,
    REASONS,
    SELECTED,
    Column,
    score_column,
    selection_columns,
    told,
)
from g2is.selection.record import Picks, Step, Walk
from g2is.selection.scores import nearest_target
from g2is.selection.similarity import UnitRows
from g2is.store.files import write_atomically

SELECTION, SCORES = "selection.parquet", "scores.parquet"
_AT_ONCE = 1024  # rows compared with the target's at a time


def write_tables(
    folder: Path,
    selected: Walk | Picks,
    ids: Sequence[str],
    numbers: np.ndarray,
    scored: Mapping[str, np.ndarray],
    nearest: Sequence[str | None],
    settings: SelectionConfig,
    made_from: Mapping[str, str],
    about: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
) -> None:
    """Write scores.parquet, then selection.parquet, one row a step of `selected` in its order.

    `ids` of the pool's rows and their record `numbers` (N,) int64; `scored` gives columns (N,) for the pool by name,
    NaN where a row has no score; `nearest` the id of the target example nearest to each step's row; `about` what is to
    be said of the steps' rows themselves, by the names of `columns.ABOUT`. A score that is missing is null; a reason
    that no row has is no column. What columns say follows from `settings`. `made_from` is kept in both files:
    `stored_metadata` gives it back.
    """
    is_selected = np.zeros(len(ids), bool)
    is_selected[selected.rows] = True
    of_pool: dict[str, tuple[Column, Any]] = {
        "row": (OF_SCORES["row"], numbers),
        "id": (OF_SCORES["id"], ids),
        **{name: (score_column(name, settings), _scores(column)) for name, column in scored.items()},
        SELECTED: (OF_SCORES[SELECTED], is_selected),
    }
    _write(folder / SCORES, of_pool, made_from)
    steps = selected.steps
    values: dict[str, Any] = {
        "row": numbers[selected.rows],
        "id": [ids[step.row] for step in steps],
        "order": [step.order for step in steps],
        **(about or {}),
        "target": [step.target for step in steps],
        "component": [step.component for step in steps],
        "trail": [step.trail for step in steps],
        "role": [step.role for step in steps],
        "similarity_to_previous": _scores([step.similarity_to_previous for step in steps]),
        "similarity_to_core": _scores([step.similarity_to_core for step in steps]),
        "consistency": _scores([step.consistency for step in steps]),
        "score": _scores([step.score for step in steps]),
        "nearest_target_id": nearest,
    }
    columns = {name: (column, values[name]) for name, column in selection_columns(settings).items() if name in values}
    _write(folder / SELECTION, columns, made_from, NEVER_EMPTY)


def _scores(values: Sequence[float] | np.ndarray) -> pa.Array:
    """A column of scores: one that is missing is null, for a NaN would sort, compare and average as nobody expects."""
    column = np.asarray(values, np.float64)
    return pa.array(column, pa.float32(), mask=np.isnan(column))


def nearest_ids(
    steps: Sequence[Step],
    pool: UnitRows,
    targets: Mapping[str, tuple[np.ndarray, Sequence[str]]],
    places: np.ndarray | None = None,
) -> list[str | None]:
    """For each step the id of the nearest row of its own target; `targets` are rows (M, k) and their ids, by name.

    `pool` holds the pool's rows, or those at `places` (n,) ascending. None for a zero row, which `official` may take
    and which is nearest to nothing, and for a row that serves no target.
    """
    found: list[str | None] = [None] * len(steps)
    for name, (target, target_ids) in targets.items():
        ours = [at for at, step in enumerate(steps) if step.target == name]
        for low in range(0, len(ours), _AT_ONCE):
            some = ours[low : low + _AT_ONCE]
            rows = np.array([steps[at].row for at in some], np.intp)
            rows = rows if places is None else np.searchsorted(places, rows)
            nearest, _ = nearest_target(pool.over_units(rows, lambda units: units), target)
            for at, row in zip(some, nearest.tolist(), strict=True):
                found[at] = target_ids[row] if row >= 0 else None
    return found


def stored_metadata(path: Path) -> dict[str, str]:
    """What a table of ours was made from; empty if it is absent."""
    if not path.exists():
        return {}
    metadata = _open(path).schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}


def stored_columns(path: Path) -> dict[str, Mapping[str, str]]:
    """The columns of a table of ours, in their order, and what each says of itself; an older version's say nothing."""
    return {field.name: told(field) for field in _open(path).schema_arrow}


def read_selection(path: Path) -> dict[str, list[Any]]:
    """The columns row, id, target and component of a selection.parquet, in order; None where the table has no such."""
    return _filled(_open(path), ["row", "id"], ["target", "component"])


def read_reasons(path: Path) -> dict[str, list[Any]]:
    """All columns of a selection.parquet, in order, and those of reasons that it lacks, with None for each row."""
    file = _open(path)
    return _filled(file, file.schema_arrow.names, REASONS)


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The same as `read_reasons`, row by row."""
    columns = read_reasons(path)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A table of ours, or some columns of it. Raises StoreError if it cannot be read."""
    return _open(path).read(columns)


def read_first(path: Path, num: int) -> list[dict[str, Any]]:
    """The first `num` rows of a table of ours. Raises StoreError if it cannot be read."""
    batches = _open(path).iter_batches(batch_size=max(num, 1))
    first = next(batches, None)
    rows: list[dict[str, Any]] = [] if first is None else first.to_pylist()[:num]
    return rows


def read_scores(path: Path) -> dict[str, np.ndarray]:
    """The columns (N,) of scores of a scores.parquet, by name; NaN where a row has none. None of it, where none is."""
    if not path.exists():
        return {}
    table = _open(path).read()
    return {name: table[name].to_numpy() for name in table.column_names if name not in OF_SCORES}


def _filled(file: pq.ParquetFile, names: Sequence[str], others: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The columns `names`, and `others` as far as the file has them, else with None for each row."""
    there = [name for name in (*names, *others) if name in file.schema_arrow.names]
    found: dict[str, list[Any]] = file.read(list(dict.fromkeys(there))).to_pydict()
    return {**found, **{name: [None] * file.metadata.num_rows for name in others if name not in found}}


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except PermissionError:
        raise may_not_be_read(path) from None
    except FileNotFoundError:
        raise StoreError(
            f"{path}: expected a Parquet table as g2is writes it, found no file. Give the command that made it again"
        ) from None
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(
            f"{path}: expected a Parquet table as g2is writes it, but it cannot be read: {error}. Remove it and give"
            " the command that made it again"
        ) from None


def _write(
    path: Path,
    columns: Mapping[str, tuple[Column, Any]],
    made_from: Mapping[str, str],
    never_empty: Sequence[str] | None = None,
) -> None:
    """Write a table; with `never_empty` other columns without any value are left out."""
    arrays = {name: _array(values, column.kind) for name, (column, values) in columns.items()}
    if never_empty is not None:
        arrays = {name: array for name, array in arrays.items() if name in never_empty or array.null_count < len(array)}
    schema = pa.schema([columns[name][0].field(name) for name in arrays], metadata=dict(made_from))
    table = pa.Table.from_arrays(list(arrays.values()), schema=schema)
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
