"""Read instruction data: one JSON object a line, streamed, every problem of the file reported at once.

Row numbers count the lines that are not blank. A row's id is its `id` field (a string or an integer), which no other
row of the file may have; a row without one, or with null, is named `row-<number>`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2is.errors import InputError
from g2is.examples.lines import read_lines
from g2is.examples.problems import Problems
from g2is.examples.schemas import (
    SCHEMAS,
    Message,
    describe_columns,
    describe_schemas,
    json_type,
    messages_of,
    schema_of,
)
from g2is.progress import Progress


@dataclass(frozen=True)
class Example:
    r"""One instruction with its answer: a conversation with at least one assistant turn.

    `row` is its 0-based position among the file's examples, `line` its 1-based line, `raw` the line's own bytes
    without the final \n.
    """

    row: int
    line: int
    id: str
    messages: tuple[Message, ...]
    raw: bytes


def read_examples(path: Path, progress: Progress | None = None) -> Iterator[Example]:
    """Yield the file's examples in order, without holding them.

    From the first problem row on nothing more is yielded: the rest is only checked, so that all problems come in one
    error. `progress(bytes_read, file_size)` counts bytes on disk. Raises InputError as `read_lines`, and for rows that
    are not UTF-8, not JSON objects, of no known or of another schema than the first, without an answer, or of an id
    already used.
    """
    problems = Problems(path)
    lines_by_id: dict[str, int] = {}
    schema: str | None = None
    num_rows = 0
    for line, raw in read_lines(path, progress):
        row, num_rows = num_rows, num_rows + 1
        example_id = None
        try:
            values = _parse(raw)
            example_id = _id_of(values, row)
            first_line = lines_by_id.setdefault(example_id, line)
            if first_line != line:
                raise InputError(f"expected an id that no other row has, found that of line {first_line}")
            schema = _check_schema(values, schema)
            messages = messages_of(values, schema)
        except InputError as problem:
            problems.add(line, example_id, problem)
            continue
        if not problems:
            yield Example(row, line, example_id, messages, raw)
    if num_rows == 0:
        raise InputError(f"{path}: expected examples, one JSON object a line, found only blank lines")
    problems.raise_if_any("Mend these rows or leave them out, then run the same command again.")


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"expected UTF-8 text, found byte 0x{raw[error.start]:02x} at byte {error.start + 1}"
        ) from None
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"expected a JSON object, found bad JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists in lists in lists …
        raise InputError(f"expected a JSON object, found one that cannot be parsed: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"expected a JSON object, found {json_type(values)}")
    return values


def _id_of(values: dict[str, Any], row: int) -> str:
    value = values.get("id")
    if value is None:
        return f"row-{row}"
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        found = "an empty string" if value == "" else json_type(value)
        raise InputError(f"expected `id` to be a string or an integer, found {found}")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError("expected `id` to be Unicode text, found a lone surrogate") from None
    return text


def _check_schema(values: dict[str, Any], expected: str | None) -> str:
    """Return the row's schema, which is that of the rows before it."""
    if expected is not None and all(column in values for column in SCHEMAS[expected]):
        return expected
    found = schema_of(values)
    if expected is not None:
        columns = ", ".join(SCHEMAS[expected])
        other = f" ({found})" if found else ""
        raise InputError(
            f"expected columns {columns} as in the rows before, found columns {describe_columns(values)}{other}"
        )
    if found is None:
        raise InputError(f"expected columns {describe_schemas()}, found columns {describe_columns(values)}")
    return found
