"""selection.parquet and scores.parquet: what was chosen and how every pool row scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import StoreError, may_not_be_read
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
    made_from: Mapping[str, str],
) -> None:
    """Write scores.parquet, then selection.parquet, one row a step of `selected` in its order.

    `ids` of the pool's rows and their record `numbers` (N,) int64; `scored` gives columns (N,) for the pool by name,
    NaN where a row has no score; `nearest` the id of the target example nearest to each step's row. A score that is
    missing is null. `made_from` is kept in both files: `stored_metadata` gives it back.
    """
    of_pool: dict[str, pa.Array] = {"row": pa.array(numbers, pa.int64()), "id": pa.array(ids, pa.string())}
    of_pool |= {name: _scores(column) for name, column in scored.items()}
    _write(folder / SCORES, of_pool, made_from)
    steps = selected.steps
    columns = {
        "row": pa.array(numbers[selected.rows], pa.int64()),
        "id": pa.array([ids[step.row] for step in steps], pa.string()),
        "order": pa.array([step.order for step in steps], pa.int64()),
        "target": pa.array([step.target for step in steps], pa.string()),
        "component": pa.array([step.component for step in steps], pa.int32()),
        "trail": pa.array([step.trail for step in steps], pa.int32()),
        "role": pa.array([step.role for step in steps], pa.string()),
        "similarity_to_previous": _scores([step.similarity_to_previous for step in steps]),
        "similarity_to_core": _scores([step.similarity_to_core for step in steps]),
        "consistency": _scores([step.consistency for step in steps]),
        "score": _scores([step.score for step in steps]),
        "nearest_target_id": pa.array(nearest, pa.string()),
    }
    _write(folder / SELECTION, columns, made_from)


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


def read_selection(path: Path) -> dict[str, list[Any]]:
    """The columns row, id, target and component of a selection.parquet, in order."""
    return _open(path).read(["row", "id", "target", "component"]).to_pydict()


def read_table(path: Path) -> pa.Table:
    """A table of ours. Raises StoreError if it cannot be read."""
    return _open(path).read()


def read_reasons(path: Path) -> dict[str, list[Any]]:
    """All columns of a selection.parquet, in order."""
    columns: dict[str, list[Any]] = read_table(path).to_pydict()
    return columns


def read_scores(path: Path) -> dict[str, np.ndarray]:
    """The columns (N,) of scores of a scores.parquet, by name; NaN where a row has none. None of it, where none is."""
    if not path.exists():
        return {}
    table = _open(path).read()
    return {name: table[name].to_numpy() for name in table.column_names if name not in ("row", "id")}


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except PermissionError:
        raise may_not_be_read(path) from None
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(
            f"{path}: expected a Parquet table as g2is writes it, but it cannot be read: {error}. Remove it and give"
            " the command that made it again"
        ) from None


def _write(path: Path, columns: Mapping[str, pa.Array], made_from: Mapping[str, str]) -> None:
    table = pa.table(dict(columns)).replace_schema_metadata(dict(made_from))
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))
