"""What cells of a comparison tune on, as one Parquet file: selecting wants gigabytes of a store, tuning these rows.

So the machine that tunes need not be the one that selected.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.comparison.cells import Key
from g2is.jobs.cells import Chosen

SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("target", pa.string()),
        ("budget", pa.string()),
        ("seed", pa.int64()),
        ("rows", pa.list_(pa.int64())),  # record numbers
        ("epochs", pa.int64()),
        ("seconds", pa.map_(pa.string(), pa.float64())),  # by stage
    ]
)


def read_selections(path: Path) -> dict[Key, Chosen]:
    """The selections of a Parquet file by cell; none if there is no such file."""
    rows = pq.read_table(path, schema=SCHEMA).to_pylist(maps_as_pydicts="strict") if path.exists() else []
    return {
        Key(*(row[name] for name in Key._fields)): Chosen(
            np.array(row["rows"], np.int64), row["epochs"], row["seconds"]
        )
        for row in rows
    }


def write_selections(path: Path, selections: Mapping[Key, Chosen]) -> None:
    """Write `selections`, which all have rows, in the order of their cells' places."""
    rows = []
    for key, chosen in sorted(selections.items(), key=lambda of: str(of[0].place(Path()))):
        assert chosen.rows is not None
        rows.append(
            {**key._asdict(), "rows": chosen.rows.tolist(), "epochs": chosen.epochs, "seconds": dict(chosen.seconds)}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd", compression_level=19)
