"""selected.jsonl and selected.messages.jsonl: the selected examples, ready to train on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.read import Example, read_examples
from g2is.examples.schemas import row_of
from g2is.examples.sources import Source, describe
from g2is.progress import Progress
from g2is.store.files import remove, write_bytes, write_text

ORIGINAL, MESSAGES = EXPORTED = "selected.jsonl", "selected.messages.jsonl"


def write_selected(
    pool: Sequence[Source],
    config: ExamplesConfig,
    ids: Mapping[int, str],
    folder: Path,
    progress: Progress,
    targets: Mapping[int, str | None] | None = None,
) -> None:
    """Write the pool rows that `ids` (record number -> id, in order) names: as they stood in the pool, and as messages.

    With `targets` (row -> name) the messages say which target each row serves. Raises InputError naming
    the first row that is no longer there or has another id.
    """
    found: dict[int, Example] = {}
    for example in read_examples(pool, config, progress):
        if example.row in ids:
            found[example.row] = example
    for row, expected in ids.items():
        if row not in found or found[row].id != expected:
            there = f"the id {found[row].id}" if row in found else "fewer rows"
            raise InputError(
                f"{describe(pool)}: expected row {row} to be {expected}, as it was when it was selected, found {there}:"
                " the file has changed. Put the old one back, or select again with another --out"
            )
    write_bytes(folder / ORIGINAL, b"".join(found[row].raw + b"\n" for row in ids))
    write_text(folder / MESSAGES, "".join(_as_messages(found[row], targets) for row in ids))


def remove_selected(folder: Path) -> None:
    """Remove the examples of an earlier selection."""
    remove(folder / ORIGINAL)
    remove(folder / MESSAGES)


def _as_messages(example: Example, targets: Mapping[int, str | None] | None) -> str:
    values: dict[str, Any] = {"id": example.id, **row_of(example.conversation)}
    if targets is not None:
        values["target"] = targets[example.row]
    return json.dumps(values, ensure_ascii=False, default=str) + "\n"  # tools may hold what JSON has not, as dates
