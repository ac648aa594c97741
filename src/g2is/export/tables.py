"""selection.parquet and scores.parquet: what was chosen and how every pool row scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import StoreError
from g2is.selection.record import Walk
from g2is.store.files import write_atomically

_DIGEST = b"g2is.digest"  # of everything the selection was made from


def write_selection(path: Path, walk: Walk, ids: Sequence[str], nearest_target_ids: Sequence[str], digest: str) -> None:
    """Write the selection in its order: one row a step of `walk`, with the pool's `ids`."""
    steps = walk.steps
    columns = {
        "row": pa.array([step.row for step in steps], pa.int64()),
        "id": pa.array([ids[step.row] for step in steps], pa.string()),
        "order": pa.array([step.order for step in steps], pa.int64()),
        "target": pa.array([step.target for step in steps], pa.string()),
        "component": pa.array([step.component for step in steps], pa.int32()),
        "role": pa.array([step.role for step in steps], pa.string()),
        "similarity_to_previous": pa.array([step.similarity_to_previous for step in steps], pa.float32()),
        "similarity_to_core": pa.array([step.similarity_to_core for step in steps], pa.float32()),
        "consistency": pa.array([step.consistency for step in steps], pa.float32()),
        "nearest_target_id": pa.array(nearest_target_ids, pa.string()),
    }
    _write(path, pa.table(columns), digest)


def write_scores(
    path: Path, ids: Sequence[str], scores: Mapping[str, np.ndarray], usable: np.ndarray, digest: str
) -> None:
    """Write every pool row's similarity to the core knowledge of each target; null for rows set aside."""
    columns = {"row": pa.array(np.arange(len(ids))), "id": pa.array(ids, pa.string())}
    for target, values in scores.items():
        columns[f"similarity_to_core.{target}"] = pa.array(values.astype(np.float32), mask=~usable)
    _write(path, pa.table(columns), digest)


def stored_digest(path: Path) -> str | None:
    """The digest that a table of ours was written with; None if it is absent."""
    if not path.exists():
        return None
    metadata = _open(path).schema_arrow.metadata or {}
    return metadata.get(_DIGEST, b"").decode()


def selected_rows(path: Path) -> tuple[list[int], list[str]]:
    """The pool rows of a selection.parquet and their ids, in order."""
    table = _open(path).read(["row", "id"])
    return table.column("row").to_pylist(), table.column("id").to_pylist()


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(
            f"{path}: expected a Parquet table as g2is writes it, but it cannot be read: {error}"
        ) from None


def _write(path: Path, table: pa.Table, digest: str) -> None:
    table = table.replace_schema_metadata({_DIGEST: digest.encode()})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))
