"""What the columns of selection.parquet and scores.parquet say, and in which unit (docs/tables.md).

Both are kept in the file, as metadata of each column: `meaning`, and `unit` where there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from g2is.config import SelectionConfig
from g2is.selection.meaning import COSINE, pool_score_meaning, score_meaning

TEXT_LENGTH = 200  # characters of a row that its text shows
SELECTED = "selected"


@dataclass(frozen=True)
class Column:
    """A column: its type, what it says, its unit ("" for names and texts)."""

    kind: pa.DataType
    meaning: str
    unit: str = ""

    def field(self, name: str) -> pa.Field:
        """The column as a field of a table's schema, by its name."""
        told = {"meaning": self.meaning} | ({"unit": self.unit} if self.unit else {})
        return pa.field(name, self.kind, metadata=told)


_ROW = Column(pa.int64(), "number of the row in the pool, over all files in the order read", "rows, from 0")
_ID = Column(pa.string(), "the row's own id, or row-N where it has none")

# Of a row itself. Rows of a matrix have none of these.
ABOUT: dict[str, Column] = {
    "text": Column(pa.string(), f"the first {TEXT_LENGTH} characters of what the row's user asks"),
    "source": Column(pa.string(), "where the row comes from: its own source, or the name of its file"),
    "tokens": Column(pa.int32(), "length as the model sees the row, after any shortening", "tokens"),
    "answer_tokens": Column(pa.int32(), "how many of these tokens are learned", "tokens"),
    "characters": Column(pa.int64(), "length of all the row's turns, before any shortening", "characters"),
}

# Why it was taken. What a selector leaves empty for every row is no column of its table.
REASONS: dict[str, Column] = {
    "target": Column(pa.string(), "the target that the row was taken for; none for a row included by name"),
    "component": Column(pa.int32(), "component of that target's core knowledge", "components, from 0"),
    "trail": Column(pa.int32(), "trail of the walk that the row stands in", "trails, from 0"),
    "role": Column(
        pa.string(),
        "how it was taken: anchor, step, fallback or refill of a walk; picked by another selector; included by name",
    ),
    "similarity_to_previous": Column(pa.float32(), "similarity with the row that the trail took before", COSINE),
    "similarity_to_core": Column(pa.float32(), "similarity with the component's direction", COSINE),
    "consistency": Column(
        pa.float32(), "similarity of the trail's sum, with this row, and the component's direction", COSINE
    ),
    "score": Column(pa.float32(), "what the selector took the row for"),
    "nearest_target_id": Column(pa.string(), "id of the example of its target that the row is most similar to"),
}

_ALWAYS = {"row": _ROW, "id": _ID, "order": Column(pa.int64(), "place in the selection", "rows, from 0")}
OF_SELECTION: dict[str, Column] = {**_ALWAYS, **ABOUT, **REASONS}
NEVER_EMPTY = (*_ALWAYS, "target", "role")
OF_SCORES: dict[str, Column] = {
    "row": _ROW,
    "id": _ID,
    SELECTED: Column(pa.bool_(), "whether the row was selected"),
}


def selection_columns(settings: SelectionConfig) -> dict[str, Column]:
    """The columns that a selection of these settings may have, in their order."""
    return {**OF_SELECTION, "score": Column(pa.float32(), *score_meaning(settings))}


def score_column(name: str, settings: SelectionConfig) -> Column:
    """A column of scores of all pool rows, such as "similarity.TARGET"."""
    return Column(pa.float32(), *pool_score_meaning(name, settings))


def told(field: pa.Field) -> Mapping[str, str]:
    """What a stored column says of itself: `meaning` and `unit`, as far as it does."""
    found = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return {key: found[key] for key in ("meaning", "unit") if key in found}
