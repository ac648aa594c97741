"""answers.parquet: a row for each test row, so that models can be compared row by row."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import StoreError, may_not_be_read, pass_on_too_little_memory
from g2is.evaluation.rows import Evaluation
from g2is.store.files import write_atomically

_CUT = b"g2is_cut"
_COLUMNS = ("row", "id", "loss", "num_learned", "expected", "given")


def write_answers(path: Path, rows: np.ndarray, ids: Sequence[str], evaluation: Evaluation) -> None:
    """Write what `evaluation` has of each test row; `rows` (T,) int64 and `ids` say which. NaN becomes null."""
    values = (
        pa.array(rows, pa.int64()),
        pa.array(ids, pa.string()),
        pa.array(evaluation.losses, pa.float64(), from_pandas=True),
        pa.array(evaluation.num_learned, pa.int64()),
        pa.array(evaluation.expected, pa.string()),
        pa.array(evaluation.given, pa.string()) if evaluation.given else pa.nulls(len(ids), pa.string()),
    )
    metrics = {name: pa.array(of_rows, pa.float64(), from_pandas=True) for name, of_rows in evaluation.metrics.items()}
    table = pa.table({**dict(zip(_COLUMNS, values, strict=True)), **metrics})
    table = table.replace_schema_metadata({_CUT: json.dumps(evaluation.cut)})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))


def read_answers(path: Path) -> Evaluation:
    """What `write_answers` wrote. Raises StoreError if it cannot be read."""
    try:
        table = pq.read_table(path, partitioning=None)  # else older ones take columns from folders such as lr=1e-3
        values = {name: table[name].to_pylist() for name in _COLUMNS}
    except PermissionError:
        raise may_not_be_read(path) from None
    except (OSError, LookupError, pa.ArrowException) as error:
        pass_on_too_little_memory(error)
        raise StoreError(
            f"{path}: expected a table as g2is writes it, but it cannot be read: {error}. Remove it and give the same"
            " command again"
        ) from None
    return Evaluation(
        losses=_floats(values["loss"]),
        num_learned=np.array(values["num_learned"], np.int64),
        expected=values["expected"],
        given=[] if values["given"].count(None) == len(values["given"]) else values["given"],
        metrics={name: _floats(table[name].to_pylist()) for name in table.column_names if name not in _COLUMNS},
        cut=json.loads((table.schema.metadata or {}).get(_CUT, b"{}")),
    )


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)
