"""map.parquet: the map's rows as a table, which embedding-atlas and others open."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.report.relations import Relations
from g2is.report.shown import Shown, Turns


def write_map(
    path: Path,
    shown: Shown,
    xy: np.ndarray,
    chosen_at: np.ndarray,
    groups: Sequence[str],
    relations: Relations,
    made_from: Mapping[str, str],
) -> None:
    """Write x, y, text, what was chosen when and for what, and neighbours of the P shown rows.

    `neighbors` is what embedding-atlas reads: of each row `ids`, rows of this table from 0, and `distances`, 1 less the
    cosine: of a chosen row the nearest rows, of another the nearest chosen ones.
    """
    order, group = np.full(len(shown), -1, np.int64), np.full(len(shown), None, object)
    order[chosen_at], group[chosen_at] = np.arange(len(chosen_at)), list(groups)
    near, cosines = _neighbours(relations, chosen_at)
    kept = [row >= 0 for row in near]
    columns = {
        "row": pa.array(shown.rows, pa.int64()),
        "id": pa.array(shown.ids, pa.string()),
        "x": pa.array(xy[:, 0], pa.float32()),
        "y": pa.array(xy[:, 1], pa.float32()),
        "text": pa.array([_text(turns) for turns in shown.turns], pa.string()),
        "source": pa.array(shown.sources, pa.string()),
        "tokens": pa.array(shown.num_tokens, pa.int32()),
        "selected": pa.array(order >= 0, pa.bool_()),
        "order": pa.array(order, pa.int64(), mask=order < 0),
        "selected_for": pa.array(group, pa.string()),
        "similarity_to_target": pa.array(relations.target_cosine, pa.float32()),
        "neighbors": pa.StructArray.from_arrays(
            [
                pa.array([row[of].tolist() for row, of in zip(near, kept, strict=True)], pa.list_(pa.int64())),
                pa.array(
                    [(1 - row[of]).tolist() for row, of in zip(cosines, kept, strict=True)], pa.list_(pa.float32())
                ),
            ],
            ["ids", "distances"],
        ),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(dict(made_from)), path)


def _neighbours(found: Relations, chosen_at: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    near = [np.where(row >= 0, chosen_at[row], -1) if len(chosen_at) else row for row in found.chosen]
    cosines = list(found.chosen_cosine)
    for place, row in enumerate(chosen_at[: len(found.near)].tolist()):
        near[row], cosines[row] = found.near[place], found.near_cosine[place]
    return near, cosines


def _text(turns: Turns) -> str:
    """What is said, without who says it: viewers name a group of rows after words that its texts share."""
    said = "\n\n".join(content for _, content in turns if content.strip())
    return said.encode("utf-8", "replace").decode("utf-8")
