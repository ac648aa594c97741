"""selected.jsonl and selected.messages.jsonl: the selected examples, ready to train on; and how each begins."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.conversation import USER, Conversation
from g2is.examples.read import Example, read_examples
from g2is.examples.schemas import row_of
from g2is.examples.sources import Source, describe
from g2is.outputs.columns import TEXT_LENGTH
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
    found = {example.row: example for example in _selected(pool, config, ids, progress)}
    write_bytes(folder / ORIGINAL, b"".join(found[row].raw + b"\n" for row in ids))
    write_text(folder / MESSAGES, "".join(_as_messages(found[row], targets) for row in ids))


def remove_selected(folder: Path) -> None:
    """Remove the examples of an earlier selection."""
    remove(folder / ORIGINAL)
    remove(folder / MESSAGES)


def read_beginnings(
    pool: Sequence[Source], config: ExamplesConfig, ids: Mapping[int, str], progress: Progress
) -> tuple[list[str], list[int]]:
    """How the pool rows that `ids` (record number -> id, in order) names begin, and how many characters each has.

    Of a row it is what its user asks, without space around it, or the first turn that says something. Raises as
    `write_selected`.
    """
    found = {
        example.row: (beginning(example.conversation), _num_characters(example.conversation))
        for example in _selected(pool, config, ids, progress)
    }
    return [found[row][0] for row in ids], [found[row][1] for row in ids]


def beginning(conversation: Conversation) -> str:
    """The first characters of what a user asks, or of the first turn that says something."""
    said = [(turn.role, text) for turn in conversation.turns if (text := turn.content.strip())]
    asked = next((text for role, text in said if role == USER), None)
    return (asked if asked is not None else said[0][1] if said else "")[:TEXT_LENGTH]


def _num_characters(conversation: Conversation) -> int:
    return sum(len(turn.reasoning) + len(turn.content) for turn in conversation.turns)


def _selected(
    pool: Sequence[Source], config: ExamplesConfig, ids: Mapping[int, str], progress: Progress
) -> Iterator[Example]:
    """The rows that `ids` names, in the order of the pool; raises for one that is not there only at its end."""
    missing, others = dict(ids), dict[int, str]()
    for example in read_examples(pool, config, progress):
        if example.row not in missing:
            continue
        if example.id == missing[example.row]:
            del missing[example.row]
            yield example
        else:
            others[example.row] = example.id
    for row, expected in missing.items():
        there = f"the id {others[row]}" if row in others else "fewer rows"
        raise InputError(
            f"{describe(pool)}: expected row {row} to be {expected}, as it was when it was selected, found {there}:"
            " the file has changed. Put the old one back, or select again with another --out"
        )


def _as_messages(example: Example, targets: Mapping[int, str | None] | None) -> str:
    values: dict[str, Any] = {"id": example.id, **row_of(example.conversation)}
    if targets is not None:
        values["target"] = targets[example.row]
    return json.dumps(values, ensure_ascii=False, default=str) + "\n"  # tools may hold what JSON has not, as dates
