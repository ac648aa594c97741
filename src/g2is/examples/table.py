"""A file's examples as tokens, kept in one Parquet file: made once, read a row group at a time.

The file's name is the digest of source file and renderer, so a changed file, template, tokenizer or length makes a new
one. It is written whole or not at all; one that cannot be read is made again.
"""

import copy
import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import G2isError, StoreError
from g2is.examples.keys import KEY_BYTES, content_key
from g2is.examples.lines import digest
from g2is.examples.problems import Problems
from g2is.examples.read import Example, read_examples
from g2is.examples.tokenize import Rendered, Renderer
from g2is.progress import Progress
from g2is.store.files import write_atomically

GROUP_ROWS = 1024
_TABLE_VERSION = 2
_CACHED_GROUPS = 4
_TOKENS = ["input_ids", "answer_spans"]
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("line", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),  # null where the row names none
        ("key", pa.binary(KEY_BYTES)),
        ("num_tokens", pa.int32()),
        ("num_answer_tokens", pa.int32()),
        ("num_dropped", pa.int32()),
        ("num_answer_dropped", pa.int32()),
        ("input_ids", pa.list_(pa.int32())),
        ("answer_spans", pa.list_(pa.int32())),  # start, end, start, end …: half-open runs of learned tokens
    ]
)


@final
class ExampleTable:
    """The tokenized examples of one file, or some of them (`subset`). Made by `tokenize_file`.

    `source_sha256` is that of the file it was made from. In memory: `ids` (N strings), `sources` (N strings, the row's
    `source` field or else the file's name without suffixes), `rows` (N,) int64, each one's place in the file, `lines`
    (N,) int64, `keys` (N, 16) uint8, `num_tokens`, `num_answer_tokens`,
    `num_dropped`, `num_answer_dropped` (N,) int32. Tokens stay on disk.
    """

    def __init__(self, path: Path, file: pq.ParquetFile, source: str) -> None:
        columns = file.read([name for name in _SCHEMA.names if name not in _TOKENS])
        self.path = path
        self.source_sha256: str = json.loads(file.schema_arrow.metadata[b"g2is"])["source_sha256"]
        self.ids: list[str] = columns["id"].to_pylist()
        self.sources: list[str] = [found or source for found in columns["source"].to_pylist()]
        self.rows: np.ndarray = columns["row"].to_numpy()
        keys = b"".join(columns["key"].to_pylist())
        self.keys: np.ndarray = np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES)
        self.lines: np.ndarray = columns["line"].to_numpy()
        self.num_tokens: np.ndarray = columns["num_tokens"].to_numpy()
        self.num_answer_tokens: np.ndarray = columns["num_answer_tokens"].to_numpy()
        self.num_dropped: np.ndarray = columns["num_dropped"].to_numpy()
        self.num_answer_dropped: np.ndarray = columns["num_answer_dropped"].to_numpy()
        self._metadata = file.metadata
        self._groups: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_truncated(self) -> int:
        """How many examples lost tokens to `max_length`."""
        return int((self.num_dropped > 0).sum())

    @property
    def num_answers_cut(self) -> int:
        """How many examples lost tokens that would have been learned."""
        return int((self.num_answer_dropped > 0).sum())

    @property
    def num_duplicates(self) -> int:
        """How many examples have the content of an earlier one."""
        return len(self) - len(np.unique(self.keys, axis=0))

    def subset(self, positions: np.ndarray) -> "ExampleTable":
        """The examples at `positions` (n,) int64, in that order, as a table of their own."""
        some = copy.copy(self)
        some.ids = [self.ids[position] for position in positions]
        some.sources = [self.sources[position] for position in positions]
        for name in ("rows", "keys", "lines", "num_tokens", "num_answer_tokens", "num_dropped", "num_answer_dropped"):
            setattr(some, name, getattr(self, name)[positions])
        return some

    def take(self, rows: Sequence[int] | np.ndarray) -> list[Rendered]:
        """Return the examples of `rows`, in the order given, reading each row group they lie in once.

        Scattered rows are best asked for in one call. Raises IndexError for a row that is not there, StoreError if
        the file is damaged.
        """
        wanted = np.asarray(rows, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"expected rows from 0 to {len(self) - 1}, found {wanted.min()} to {wanted.max()}")
        taken: dict[int, Rendered] = {}
        for row in np.unique(wanted).tolist():
            number, at = divmod(int(self.rows[row]), GROUP_ROWS)
            ids, id_ends, spans, span_ends = self._group(number)
            # Copies, since a view would keep its whole row group in memory.
            input_ids = ids[id_ends[at] : id_ends[at + 1]].copy()
            label_mask = np.zeros(len(input_ids), bool)
            for start, end in spans[span_ends[at] : span_ends[at + 1]].reshape(-1, 2):
                label_mask[start:end] = True
            dropped = int(self.num_dropped[row]), int(self.num_answer_dropped[row])
            taken[row] = Rendered(input_ids, label_mask, *dropped)
        return [taken[row] for row in wanted.tolist()]

    def _group(self, number: int) -> tuple[np.ndarray, ...]:
        if number in self._groups:
            self._groups.move_to_end(number)
            return self._groups[number]
        try:
            with pq.ParquetFile(self.path, metadata=self._metadata, page_checksum_verification=True) as file:
                columns = file.read_row_group(number, _TOKENS).combine_chunks()
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{self.path}: expected tokenized examples, found a damaged file ({error}); delete it and run again"
            ) from None
        arrays: list[np.ndarray] = []
        for name in _TOKENS:
            lists = columns[name].chunk(0)
            arrays += [lists.values.to_numpy(), lists.offsets.to_numpy()]
        self._groups[number] = tuple(arrays)
        if len(self._groups) > _CACHED_GROUPS:
            self._groups.popitem(last=False)
        return self._groups[number]


def tokenize_file(path: Path, renderer: Renderer, cache_dir: Path, progress: Progress | None = None) -> ExampleTable:
    """Render every example of `path` into a table in `cache_dir`, or open the one made by an earlier call.

    `progress(bytes_read, file_size)` counts bytes of the file on disk, compressed ones if it is compressed; at most
    GROUP_ROWS examples of those are still to be rendered. Raises InputError as `read_examples`; InputError or
    ModelError listing all examples that cannot be rendered.
    """
    identity = {"table_version": _TABLE_VERSION, "source_sha256": digest(path), "renderer": renderer.fingerprint}
    text = json.dumps(identity, sort_keys=True)
    cached = cache_dir / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.parquet"
    table = _open(cached, text, path.name.partition(".")[0])
    if table is None:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _write(cached, text, _batches(path, renderer, progress))
        table = _open(cached, text, path.name.partition(".")[0])
        if table is None:
            raise StoreError(f"{cached}: expected the table just written, found it unreadable; check the disk")
    elif progress is not None:
        size = path.stat().st_size
        progress(size, size)
    return table


def _open(path: Path, identity: str, source: str) -> ExampleTable | None:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            found = file.schema_arrow
            if not found.equals(_SCHEMA) or (found.metadata or {}).get(b"g2is") != identity.encode():
                return None
            return ExampleTable(path, file, source)
    except (OSError, pa.ArrowException):
        return None


def _batches(
    path: Path, renderer: Renderer, progress: Progress | None
) -> Iterator[tuple[list[Example], list[Rendered]]]:
    problems = Problems(path)
    examples = read_examples(path, progress)
    while batch := list(islice(examples, GROUP_ROWS)):
        rendered: list[Rendered] = []
        for example, result in zip(batch, renderer.render_many(batch), strict=True):
            if isinstance(result, G2isError):
                problems.add(example.line, example.id, result)
            else:
                rendered.append(result)
        if not problems:
            yield batch, rendered
    problems.raise_if_any("Mend these rows or leave them out, then run the same command again.")


def _write(path: Path, identity: str, batches: Iterable[tuple[list[Example], list[Rendered]]]) -> None:
    schema = _SCHEMA.with_metadata({"g2is": identity})

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer:
            for examples, rendered in batches:
                writer.write_batch(_record_batch(schema, examples, rendered), row_group_size=GROUP_ROWS)

    write_atomically(path, write)


def _record_batch(schema: pa.Schema, examples: list[Example], rendered: list[Rendered]) -> pa.RecordBatch:
    columns: dict[str, Any] = {
        "row": [example.row for example in examples],
        "line": [example.line for example in examples],
        "id": [example.id for example in examples],
        "source": [_source(example) for example in examples],
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


def _source(example: Example) -> str | None:
    source = json.loads(example.raw).get("source")
    return source if isinstance(source, str) and source else None


def _lists(rows: list[np.ndarray]) -> pa.Array:
    offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(rows).astype(np.int32)))


def _spans(label_mask: np.ndarray) -> np.ndarray:
    """Return the half-open runs of True in (T,) bool as start, end, start, end … int32."""
    edges = np.diff(np.concatenate([[False], label_mask, [False]]).astype(np.int8))
    return np.flatnonzero(edges).astype(np.int32)
