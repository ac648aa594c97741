"""Tokenize files into a table: made once, opened by every later call.

The table's name is the digest of the files' content, the renderer, and how rows are read, so a changed file, template,
tokenizer, length, layout or column makes a new one. It is written whole or not at all; one that cannot be read is made
again. Where bad rows are set aside, their list lies beside it.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.config import ExamplesConfig
from g2is.errors import G2isError, InputError, StoreError, may_not_be_read, pass_on_too_little_memory
from g2is.examples.batches import batches
from g2is.examples.columns import describe_unread
from g2is.examples.conversation import Conversation
from g2is.examples.how_read import how_read
from g2is.examples.keys import content_key
from g2is.examples.problems import BadRow, Problems
from g2is.examples.read import REMEDY, Example, ExampleReader
from g2is.examples.render_in_order import LaterProblems, num_processes, pass_on, rendered_in_order
from g2is.examples.sources import Source, describe, source_sha256
from g2is.examples.table import GROUP_ROWS, SCHEMA, ExampleTable, MadeTable
from g2is.examples.tokenize import Rendered, Renderer
from g2is.progress import Progress
from g2is.store.digests import damaged_files, record_digests, record_missing
from g2is.store.files import write_atomically

_TABLE_VERSION = 5

_NONE = Conversation(())

Keep = Callable[[str], Any]  # takes a line of the list of bad rows


class NoTokensError(StoreError):
    """Tokens are not where another process was to leave them."""


def tokenize_files(
    sources: Sequence[Source],
    renderer: Renderer,
    config: ExamplesConfig,
    cache_dir: Path | None,
    progress: Progress | None = None,
    also_in: Path | None = None,
) -> ExampleTable:
    """Render every example of `sources` into a table in `cache_dir`, or open the one made by an earlier call.

    One that lies in the folder `also_in` is opened there; nothing is written to it. Without a `cache_dir` none is made:
    raises NoTokensError where there is none.

    Large files are rendered by several processes, to the same table. `progress(bytes_read, total)` counts bytes of the
    files on disk, compressed ones if they are compressed; a few times GROUP_ROWS examples of those are still to be
    rendered. Raises InputError or ModelError listing all rows that cannot
    be used; where `config.on_bad_row` is skip, only if a file cannot be read or no row is left.
    """
    identity = {
        "table_version": _TABLE_VERSION,
        "source_sha256": source_sha256(sources),
        "renderer": renderer.fingerprint,
        **how_read(config),
    }
    text = json.dumps(identity, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]

    def place(folder: Path) -> tuple[Path, Path | None]:
        return folder / f"{name}.parquet", folder / f"{name}.bad_rows.jsonl" if config.on_bad_row == "skip" else None

    table = None
    if cache_dir is not None:
        cached, bad_rows = place(cache_dir)
        names = [path.name for path in (cached, bad_rows) if path is not None]
        table = _open(cached, bad_rows, text, sources)
        if table is not None:
            record_missing(cache_dir, names)
    if table is None and also_in is not None and also_in != cache_dir:
        table = _open(*place(also_in), text, sources)
    if table is None:
        if cache_dir is None:
            raise NoTokensError(f"{also_in}: expected the tokens of {describe(sources)}, found none")
        cache_dir.mkdir(parents=True, exist_ok=True)
        write = partial(_write, identity=text, sources=sources, config=config, renderer=renderer, progress=progress)

        def write_unchanged(path: Path, keep: Keep | None) -> None:
            write(path, keep)
            if source_sha256(sources) != identity["source_sha256"]:
                raise InputError(
                    f"{describe(sources)}: expected a file that stays as it is while it is read, found it changed"
                    " meanwhile. Give the same command again when it is whole"
                )

        _make(cached, bad_rows, write_unchanged)
        record_digests(cache_dir, names)
        table = _open(cached, bad_rows, text, sources)
        if table is None:
            raise StoreError(f"{cached}: expected the table just written, found it unreadable; check the disk")
    elif progress is not None:
        size = sum(source.size for source in sources)
        progress(size, size)
    return table


def describe_losses(kind: str, table: ExampleTable, truncation: str, also_read: Collection[str] = ()) -> list[str]:
    """Return what the user should know of columns that are not read and of rows that were set aside or shortened.

    `kind` names the files: pool, target …; `also_read` are the columns that are read beside the layout's own.
    """
    losses = []
    if unread := [name for name in table.seen.unread if name not in also_read]:
        losses.append(f"{kind}: {describe_unread(unread)}")
    if table.num_bad_rows:
        rows = (
            "1 row cannot be used and is"
            if table.num_bad_rows == 1
            else f"{table.num_bad_rows} rows cannot be used and are"
        )
        losses.append(f"{kind}: {rows} set aside (listed in bad_rows.jsonl); `g2is inspect` shows them")
    num, first = table.left_out
    if num:
        losses.append(
            f"{kind}: of {num} of {len(table)} rows the chat template leaves out text, such as {first}; they are"
            " learned as it has them (examples.dropped_text = allow)"
        )
    if table.num_truncated:
        losses.append(
            f"{kind}: {table.num_truncated} of {len(table)} examples are longer than the model's or the configured"
            f" length and lose what examples.truncation = {truncation} says; {table.num_answers_cut} of them lose part"
            " of an answer"
        )
    return losses


def _open(path: Path, bad_rows: Path | None, identity: str, sources: Sequence[Source]) -> ExampleTable | None:
    if damaged_files(path.parent, [of.name for of in (path, bad_rows) if of is not None]):
        return None
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = file.metadata.metadata or {}
            if not file.schema_arrow.equals(SCHEMA) or metadata.get(b"g2is") != identity.encode():
                return None
            made = MadeTable(path, bad_rows, file, sources)
            if sum(1 for _ in made.bad_rows()) != made.num_bad_rows:
                return None
            return made.table(file)
    except PermissionError as error:  # it is not damaged, and not to be made again in silence
        raise may_not_be_read(error.filename or path) from None
    except (OSError, ValueError, LookupError, pa.ArrowException) as error:
        pass_on_too_little_memory(error)
        return None


def _make(path: Path, bad_rows: Path | None, write: Callable[[Path, Keep | None], None]) -> None:
    if bad_rows is None:
        write_atomically(path, lambda temporary: write(temporary, None))
        return

    def write_both(of_bad_rows: Path) -> None:
        with of_bad_rows.open("w", encoding="utf-8") as lines:
            write_atomically(path, lambda temporary: write(temporary, lines.write))

    write_atomically(bad_rows, write_both)  # the list last: a table without it is made again


def _write(
    path: Path,
    keep: Keep | None,
    *,
    identity: str,
    sources: Sequence[Source],
    config: ExamplesConfig,
    renderer: Renderer,
    progress: Progress | None,
) -> None:
    numbers = {source.label: number for number, source in enumerate(sources)}
    problems = Problems(describe(sources), None if keep is None else lambda row: keep(_as_line(row, numbers)))
    later = LaterProblems()
    reader = ExampleReader(sources, config, later, progress)
    num = num_processes(sum(source.size for source in sources))
    in_order = rendered_in_order(batches(reader, GROUP_ROWS), later, renderer, num)
    schema = SCHEMA.with_metadata({"g2is": identity})
    num_written = num_left_out = 0
    first_left_out = ""
    with (
        closing(in_order),
        pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for examples, rendered in _whole(in_order, problems):
            for example, item in zip(examples, rendered, strict=True):
                if item.left_out:
                    num_left_out += 1
                    first_left_out = first_left_out or f"{item.left_out[0]} ({example.id})"
            if keep is not None or not problems:
                writer.write_batch(_record_batch(schema, numbers, examples, rendered), row_group_size=GROUP_ROWS)
                num_written += len(examples)
        found = {
            "seen": asdict(reader.seen),
            "num_bad_rows": problems.num_rows,
            "left_out": [num_left_out, first_left_out],
        }
        writer.add_key_value_metadata({"g2is_found": json.dumps(found)})
    num_read = sum(tally.num_rows for tally in reader.files)
    if keep is None:
        problems.raise_if_any(_remedy(config, reader) + REMEDY, num_read)
    elif not num_written:
        problems.raise_if_any(_remedy(config, reader) + "No row is left. Mend some, or name other files.", num_read)


def _remedy(config: ExamplesConfig, reader: ExampleReader) -> str:
    """Say which columns that were mapped are nowhere, since that may be why rows cannot be used."""
    absent = [f"{name}={theirs}" for name, theirs in config.columns.items() if theirs not in reader.seen.columns]
    return f"No row has the columns that examples.columns maps: {', '.join(absent)}. " if absent else ""


def _whole(
    rendered: Iterator[tuple[list[Example], list[BadRow | G2isError], list[Rendered | G2isError]]], problems: Problems
) -> Iterator[tuple[list[Example], list[Rendered]]]:
    """Yield batches of GROUP_ROWS examples (the last may be shorter) that could be read and rendered."""
    whole: list[tuple[Example, Rendered]] = []
    for batch, of_reading, results in rendered:
        pass_on(of_reading, problems)
        for example, result in zip(batch, results, strict=True):
            if isinstance(result, G2isError):
                problems.add(BadRow(example.origin, example.line, example.id, example.raw, result))
            else:
                whole.append((replace(example, conversation=_NONE, raw=b""), result))  # which are long, and done with
        if len(whole) >= GROUP_ROWS:
            yield [example for example, _ in whole[:GROUP_ROWS]], [item for _, item in whole[:GROUP_ROWS]]
            del whole[:GROUP_ROWS]
    if whole:
        yield [example for example, _ in whole], [item for _, item in whole]


def _as_line(row: BadRow, numbers: dict[str, int]) -> str:
    try:
        raw = row.raw.decode("utf-8") if row.raw else None
    except UnicodeDecodeError:
        raw = None
    values = {
        "file": numbers[row.origin.label],
        "line": row.line,
        "id": row.id,
        "problem": str(row.problem.args[0]),  # as it was said: where a page lies differs from machine to machine
        "raw": raw,
    }
    return json.dumps(values) + "\n"


def _record_batch(
    schema: pa.Schema, numbers: dict[str, int], examples: list[Example], rendered: list[Rendered]
) -> pa.RecordBatch:
    columns: dict[str, Any] = {
        "row": [example.row for example in examples],
        "file": [numbers[example.file] for example in examples],
        "line": [example.line for example in examples],
        "id": [example.id for example in examples],
        "source": [example.own_source for example in examples],
        "group": [example.group for example in examples],
        "key": [content_key(item.input_ids, item.label_mask) for item in rendered],
        "num_tokens": [len(item.input_ids) for item in rendered],
        "num_answer_tokens": [int(item.label_mask.sum()) for item in rendered],
        "num_dropped": [item.num_dropped for item in rendered],
        "num_answer_dropped": [item.num_answer_dropped for item in rendered],
        "input_ids": _lists([item.input_ids for item in rendered]),
        "answer_spans": _lists([_spans(item.label_mask) for item in rendered]),
    }
    arrays = [
        value if isinstance(value, pa.Array) else pa.array(value, schema.field(name).type)
        for name, value in columns.items()
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _lists(rows: list[np.ndarray]) -> pa.Array:
    offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(rows).astype(np.int32)))


def _spans(label_mask: np.ndarray) -> np.ndarray:
    """Return the half-open runs of True in (T,) bool as start, end, start, end … int32."""
    edges = np.diff(np.concatenate([[False], label_mask, [False]]).astype(np.int8))
    return np.flatnonzero(edges).astype(np.int32)
