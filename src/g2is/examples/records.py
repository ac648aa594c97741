"""What the readers of every format give: one record a row."""

from dataclasses import dataclass
from typing import Any

from g2is.errors import InputError


@dataclass(frozen=True)
class Record:
    r"""One row as it stands in its file.

    `line` is the 1-based line where it begins, or in Parquet files and datasets the row's number from 0. `raw` is the
    row as one line without the \n: JSON's own bytes, else its values as JSON; of a row that cannot be read, whatever
    bytes there are. `values` maps column names to values, or is what is wrong with the row.
    """

    line: int
    raw: bytes
    values: dict[str, Any] | InputError
