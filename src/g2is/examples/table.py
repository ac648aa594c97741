"""Examples as tokens, kept in one Parquet file: read a row group at a time. `make_table.py` makes it."""

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2is.errors import StoreError, may_not_be_read, pass_on_too_little_memory
from g2is.examples.columns import Seen
from g2is.examples.keys import KEY_BYTES
from g2is.examples.sources import Source
from g2is.examples.tokenize import Rendered

GROUP_ROWS = 1024
_CACHED_GROUPS = 4
_TOKENS = ["input_ids", "answer_spans"]
_WORDS = ["source", "group"]
SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("file", pa.int32()),
        ("line", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),  # null: the name of the file
        ("group", pa.string()),
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
    """The tokenized examples of a list of files; a position is an index into all of these, a row a record number.

    Made by `tokenize_files`. In memory: `ids`, `files`, `sources` (N strings), `groups` (N strings or None), `rows`
    (0-based record numbers over all files, which skip the rows that could not be used), `lines` (N,) int64, `keys`
    (N, 16) uint8, `num_tokens`, `num_answer_tokens`, `num_dropped`, `num_answer_dropped` (N,) int32. Tokens stay on
    disk. `source_sha256` is that of the files, `seen` what was seen of their columns, `num_bad_rows` how many of their
    rows were set aside, `left_out` of how many the chat template leaves out text, and the first such text; a subset has
    those of the whole.
    """

    def __init__(self, made: "MadeTable", positions: np.ndarray, values: Mapping[str, Any]) -> None:
        self._made = made
        self._positions = positions
        self._values = values
        self.path, self.source_sha256, self.seen = made.path, made.source_sha256, made.seen
        self.num_bad_rows = made.num_bad_rows
        self.left_out = made.left_out
        self.ids: list[str] = values["ids"]
        self.files: list[str] = values["files"]
        self.sources: list[str] = values["sources"]
        self.groups: list[str | None] = values["groups"]
        self.rows: np.ndarray = values["rows"]
        self.lines: np.ndarray = values["lines"]
        self.keys: np.ndarray = values["keys"]
        self.num_tokens: np.ndarray = values["num_tokens"]
        self.num_answer_tokens: np.ndarray = values["num_answer_tokens"]
        self.num_dropped: np.ndarray = values["num_dropped"]
        self.num_answer_dropped: np.ndarray = values["num_answer_dropped"]

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

    def subset(self, positions: Sequence[int] | np.ndarray) -> "ExampleTable":
        """Return the examples at `positions` (n,), in that order, as a table. Raises IndexError as `take`."""
        wanted = self._checked(positions)
        values = {
            name: [value[position] for position in wanted] if isinstance(value, list) else value[wanted]
            for name, value in self._values.items()
        }
        return ExampleTable(self._made, self._positions[wanted], values)

    def take(self, positions: Sequence[int] | np.ndarray) -> list[Rendered]:
        """Return the examples at `positions`, in the order given, reading each row group they lie in once.

        Scattered positions are best asked for in one call. Raises IndexError for one that is not there, StoreError if
        the file is damaged.
        """
        wanted = self._checked(positions)
        taken: dict[int, Rendered] = {}
        for position in wanted[np.argsort(self._positions[wanted], kind="stable")].tolist():
            if position not in taken:
                dropped = int(self.num_dropped[position]), int(self.num_answer_dropped[position])
                taken[position] = Rendered(*self._made.tokens(int(self._positions[position])), *dropped)
        return [taken[position] for position in wanted.tolist()]

    def token_rows(self, positions: Sequence[int] | np.ndarray | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
        """`input_ids` (T,) int32 and `label_mask` (T,) bool of the examples at `positions`, of all unless given."""
        examples = self.take(range(len(self)) if positions is None else positions)
        return [(example.input_ids, example.label_mask) for example in examples]

    def bad_rows(self) -> Iterator[dict[str, Any]]:
        """The rows that were set aside, in order: file, line, id or None, problem, raw text or None."""
        return self._made.bad_rows()

    def _checked(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        wanted = np.asarray(positions, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"expected rows from 0 to {len(self) - 1}, found {wanted.min()} to {wanted.max()}")
        return wanted


@final
class MadeTable:
    """The files on disk that a table and its subsets read: tokens, and the list of bad rows if there is one."""

    def __init__(self, path: Path, bad_rows: Path | None, file: pq.ParquetFile, sources: Sequence[Source]) -> None:
        metadata = file.metadata.metadata
        found = json.loads(metadata[b"g2is_found"])
        self.path = path
        self.source_sha256: str = json.loads(metadata[b"g2is"])["source_sha256"]
        self.seen = Seen(**{name: tuple(names) for name, names in found["seen"].items()})
        self.num_bad_rows: int = found["num_bad_rows"]
        self.left_out: tuple[int, str] = (found["left_out"][0], found["left_out"][1])
        self._bad_rows = bad_rows
        self._labels = [source.label for source in sources]
        self._names = [source.name for source in sources]
        self._metadata = file.metadata
        self._groups: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()

    def table(self, file: pq.ParquetFile) -> ExampleTable:
        """Read all but the tokens of `file`, which is that of `path`."""
        columns = file.read([name for name in SCHEMA.names if name not in _TOKENS])
        files = columns["file"].to_pylist()
        own = {name: _shared_strings(columns[name]) for name in _WORDS}
        values: dict[str, Any] = {
            "ids": columns["id"].to_pylist(),
            "files": [self._labels[number] for number in files],
            "sources": [self._names[n] if s is None else s for n, s in zip(files, own["source"], strict=True)],
            "groups": own["group"],
            "rows": columns["row"].to_numpy(),
            "lines": columns["line"].to_numpy(),
            "keys": np.frombuffer(b"".join(columns["key"].to_pylist()), np.uint8).reshape(-1, KEY_BYTES),
        }
        for name in ("num_tokens", "num_answer_tokens", "num_dropped", "num_answer_dropped"):
            values[name] = columns[name].to_numpy()
        return ExampleTable(self, np.arange(len(files)), values)

    def tokens(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (T,) int32 and label mask (T,) bool of the example at `position` of the file."""
        ids, id_ends, spans, span_ends = self._group(position // GROUP_ROWS)
        at = position % GROUP_ROWS
        # Copies, since a view would keep its whole row group in memory.
        input_ids = ids[id_ends[at] : id_ends[at + 1]].copy()
        label_mask = np.zeros(len(input_ids), bool)
        for start, end in spans[span_ends[at] : span_ends[at + 1]].reshape(-1, 2):
            label_mask[start:end] = True
        return input_ids, label_mask

    def bad_rows(self) -> Iterator[dict[str, Any]]:
        """The rows that were set aside, with the files' names of now."""
        if self._bad_rows is None:
            return
        with self._bad_rows.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield row | {"file": self._labels[row["file"]]}

    def _group(self, number: int) -> tuple[np.ndarray, ...]:
        if number in self._groups:
            self._groups.move_to_end(number)
            return self._groups[number]
        try:
            with pq.ParquetFile(self.path, metadata=self._metadata, page_checksum_verification=True) as file:
                columns = file.read_row_group(number, _TOKENS).combine_chunks()
        except PermissionError:
            raise may_not_be_read(self.path) from None
        except (OSError, pa.ArrowException) as error:
            pass_on_too_little_memory(error)
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


def _shared_strings(column: pa.ChunkedArray) -> list[str | None]:
    """Return the strings of a column that has few different ones, each in memory once."""
    encoded = column.combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    return [None if index is None else words[index] for index in encoded.indices.to_pylist()]
