"""selected.jsonl and selected.messages.jsonl: the selected examples, ready to train on."""

import json
from collections.abc import Sequence
from pathlib import Path

from g2is.errors import InputError
from g2is.examples.read import Example, read_examples
from g2is.progress import Progress
from g2is.store.files import write_atomically


def write_selected(pool: Path, rows: Sequence[int], folder: Path, progress: Progress) -> None:
    """Write the pool's `rows` in their order: the original lines byte for byte, and as messages.

    Raises InputError if the pool no longer has so many rows.
    """
    wanted = set(rows)
    found: dict[int, Example] = {}
    for example in read_examples(pool, progress):
        if example.row in wanted:
            found[example.row] = example
    missing = sorted(wanted - found.keys())
    if missing:
        raise InputError(
            f"{pool}: expected row {missing[0]}, which was selected, but the file has changed and ends before"
        )
    original = b"".join(found[row].raw + b"\n" for row in rows)
    messages = "".join(_as_messages(found[row]) for row in rows)
    write_atomically(folder / "selected.jsonl", lambda temporary: _write(temporary, original))
    write_atomically(folder / "selected.messages.jsonl", lambda temporary: _write(temporary, messages.encode()))


def _as_messages(example: Example) -> str:
    turns = [{"role": role, "content": content} for role, content in example.messages]
    return json.dumps({"id": example.id, "messages": turns}, ensure_ascii=False) + "\n"


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
