"""Read instruction data: files and datasets streamed one after the other, their columns recognised.

Record numbers count over all files, rows that cannot be used too. A row's id is its `id` field (a string or an
integer), which no other row may have; a row without one, or with null, is named `row-<number>`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from g2is.config import ExamplesConfig, Layout
from g2is.errors import InputError
from g2is.examples.columns import Seen
from g2is.examples.conversation import Conversation
from g2is.examples.csv_text import read_csv
from g2is.examples.json_text import read_json, read_json_lines
from g2is.examples.problems import BadRow, NotesProblems, Problems
from g2is.examples.records import Record
from g2is.examples.schemas import (
    COLUMNS_READ,
    LIST_COLUMNS,
    SCHEMAS,
    conversation_of,
    describe_columns,
    has_columns,
    schema_of,
)
from g2is.examples.sources import Source, describe
from g2is.examples.unknown_columns import refuse_unknown
from g2is.examples.values import is_absent, label_of
from g2is.progress import Progress

REMEDY = (
    "Mend these rows or leave them out, then run the same command again; or set them aside with"
    " --set examples.on_bad_row=skip."  # which every command takes that uses rows
)
_MADE_UP = re.compile(r"(^|/)row-[0-9]+$")
_MAX_COLUMNS = 1000  # kept of a file: rows with names of their own would fill the memory
_OURS = ("selected.messages", "target")  # a file that `g2is select` writes, and what it says there to people alone


@dataclass(frozen=True)
class Example:
    r"""One instruction with its answer: a conversation with at least one assistant turn.

    `row` is its 0-based record number over all files; `line` the 1-based line of `origin` where it begins, or its row
    number from 0 in a Parquet file or dataset; `raw` the row as one line without the \n, JSON's own bytes where it was
    JSON. `own_source` and `group` are what the row's fields say.
    """

    row: int
    origin: Source
    line: int
    id: str
    conversation: Conversation
    raw: bytes
    own_source: str | None = None
    group: str | None = None

    @property
    def file(self) -> str:
        """The file or dataset, as messages name it."""
        return self.origin.label

    @property
    def source(self) -> str:
        """Where the row comes from: its `source` field, else the name of its file or dataset."""
        return self.own_source or self.origin.name


@dataclass
class FileTally:
    """What was seen of one file so far: its schemas, how many rows, the columns by the file's own names.

    `unknown` are the columns of its last row of no layout, as they were told.
    """

    source: Source
    schemas: dict[Layout, None] = field(default_factory=dict)  # one, but where rows have nulls for the others'
    num_rows: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)
    unknown: str = ""


class ExampleReader:
    """Reads `sources` once, in order, without holding them: iterate over it.

    Rows that cannot be used go to `problems`: unreadable ones, those of no known or of another schema than the file's
    first, without an answer, or of an id already used. A file that cannot be read to its end goes there too, or is
    raised where `config.on_bad_row` is skip, since nobody knows how much of it would be lost.
    `progress(bytes_read, total)` counts bytes on disk of all sources.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: ExamplesConfig,
        problems: NotesProblems,
        progress: Progress | None = None,
    ) -> None:
        self._config = config
        self._problems = problems
        self._progress = progress
        self.files = [FileTally(source) for source in sources]

    def __iter__(self) -> Iterator[Example]:
        places: dict[str, int] = {}
        done, total = 0, sum(tally.source.size for tally in self.files)
        num_rows = 0
        for number, tally in enumerate(self.files):
            try:
                for record in self._records(tally, done, total):
                    example = self._example(tally, record, num_rows)
                    if example is not None and not self._is_new(example, number, places):
                        example = None
                    num_rows += 1
                    if example is not None:
                        yield example
            except InputError as problem:
                if self._config.on_bad_row == "skip":
                    raise
                self._problems.add_file(problem)
            done += tally.source.size

    @property
    def seen(self) -> Seen:
        """What was seen so far of all files."""
        mapped = [
            standard
            for standard, theirs in self._config.columns.items()
            if any(theirs in t.columns and standard in COLUMNS_READ[name] for t in self.files for name in t.schemas)
        ]
        return Seen(
            tuple({name: None for tally in self.files for name in tally.columns}),
            tuple({name: None for tally in self.files for name in tally.schemas}),
            tuple({name: None for tally in self.files for name in tally.unread}),
            tuple(mapped),
        )

    def _records(self, tally: FileTally, done: int, total: int) -> Iterator[Record]:
        report, most = self._progress, self._config.max_row_bytes
        of_file = None if report is None else lambda part, _: report(done + part, total)
        for record in _read_records(tally.source, self._list_columns(tally.source), of_file, most):
            if isinstance(record.values, dict) and len(tally.columns) < _MAX_COLUMNS:
                is_first = not tally.columns
                tally.columns.update(dict.fromkeys(record.values))
                if is_first and tally.source.format in ("CSV", "Parquet", "dataset"):
                    self._check_table(tally.source, record.values)
            tally.num_rows += 1
            yield record
        if tally.num_rows == 0:
            raise InputError(f"{tally.source.label}: expected at least one row, found none; leave it out, or fill it")

    def _list_columns(self, source: Source) -> frozenset[str]:
        names = LIST_COLUMNS | ({"prompt", "completion"} if source.format == "JSON" else set())
        return names | {theirs for standard, theirs in self._config.columns.items() if standard in names}

    def _check_table(self, source: Source, values: dict[str, Any]) -> None:
        """A table has the same columns in every row: unknown ones are one problem, not one a row."""
        if schema_of(self._named(values)) is None:
            try:
                refuse_unknown(values)
            except InputError as problem:
                raise InputError(f"{source.label}: {problem}") from None

    def _example(self, tally: FileTally, record: Record, row: int) -> Example | None:
        """Return the record's example, or None if it cannot be used."""
        example_id = None
        try:
            if isinstance(record.values, InputError):
                raise record.values
            values = self._named(record.values)
            if tally.source.format == "CSV":  # which has no null
                values = {key: value for key, value in values.items() if value or key not in ("id", "source", "group")}
            if values.get("id") == "":
                raise InputError("expected `id` to be a string or an integer, found an empty string")
            example_id = tally.source.before_ids + (label_of(values, "id") or f"row-{row}")
            schema = self._schema(record.values, values, tally)
            tally.schemas[schema] = None
            unread: dict[str, None] = {}
            example = Example(
                row,
                tally.source,
                record.line,
                example_id,
                conversation_of(values, schema, self._config.columns, unread),
                record.raw,
                label_of(values, "source"),
                label_of(values, "group"),
            )
            self._note_unread(tally, record.values, unread)
            return example
        except InputError as problem:
            self._problems.add(BadRow(tally.source, record.line, example_id, record.raw, problem))
            return None

    def _note_unread(self, tally: FileTally, found: Mapping[str, Any], unread: Mapping[str, None]) -> None:
        columns = {standard: theirs for standard, theirs in self._config.columns.items() if theirs in found}
        if columns:  # in the file's own names, and with the columns that those took the place of
            hidden = [name for name in columns if name not in columns.values() and not is_absent(found.get(name))]
            unread = {columns.get(name, name): None for name in unread} | dict.fromkeys(hidden)
        for name in unread:
            if len(tally.unread) < _MAX_COLUMNS and (tally.source.name, name) != _OURS:
                tally.unread[name] = None

    def _named(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the row under standard names."""
        columns = self._config.columns
        if not columns:
            return values
        renamed = {name: value for name, value in values.items() if name not in columns.values()}
        return renamed | {standard: values[theirs] for standard, theirs in columns.items() if theirs in values}

    def _schema(self, found_columns: Mapping[str, Any], values: dict[str, Any], tally: FileTally) -> Layout:
        """Return the row's schema: that of the file's first, or another if it has nulls for that one's."""
        expected = next(iter(tally.schemas), None)
        found = schema_of(values, self._config.layout or expected)
        if expected is not None and not has_columns(values, expected):
            columns = ", ".join(SCHEMAS[expected])
            other = f" ({found})" if found else ""
            raise InputError(
                f"expected columns {columns} as in the rows before, found columns"
                f" {describe_columns(found_columns)}{other}"
            )
        if found is None:
            told, tally.unknown = tally.unknown, describe_columns(found_columns)
            refuse_unknown(found_columns, told)
        return found

    def _is_new(self, example: Example, number: int, places: dict[str, int]) -> bool:
        """Whether no row before has the id of `example`, which is in file `number`; note the problem if one has.

        A place is line and file in one integer: with the ids themselves that is all that is kept of a file.
        """
        first = places.get(example.id)
        if first is None:
            places[example.id] = example.line * len(self.files) + number
            return True
        first_line, first_number = divmod(first, len(self.files))
        where = self.files[first_number].source.place(first_line)
        if (first_line, first_number) == (example.line, number):
            text = "expected an id that no other row has, found that of another row on the same line"
        elif first_number == number:
            where = where.removeprefix(example.file).lstrip(": ")
            text = f"expected an id that no other row has, found that of {'line ' * where.isdigit()}{where}"
        else:
            text = (
                f"expected an id that no row of any file has, found that of {where}; put the file's name before the"
                " ids, or leave `id` out"
            )
        if _MADE_UP.search(example.id):
            text += ". One of the two may have none: a row without goes by `row-N`, so give it an id"
        self._problems.add(BadRow(example.origin, example.line, example.id, example.raw, InputError(text)))
        return False


def read_examples(
    sources: Sequence[Source], config: ExamplesConfig | None = None, progress: Progress | None = None
) -> Iterator[Example]:
    """Yield the examples of `sources` as `ExampleReader`, and raise one InputError of all problems at the end.

    Where `config.on_bad_row` is skip, rows that cannot be used are passed over.
    """
    settings = config or ExamplesConfig()
    problems = Problems(describe(sources))
    yield from ExampleReader(sources, settings, problems, progress)
    if settings.on_bad_row == "stop":
        problems.raise_if_any(REMEDY)


def _read_records(
    source: Source, list_columns: frozenset[str], progress: Progress | None, most: int
) -> Iterator[Record]:
    if source.format == "JSON lines":
        return read_json_lines(source.file, progress, most)
    if source.format == "JSON":
        return read_json(source.file, list_columns, progress, most)
    if source.format == "CSV":
        return read_csv(source.file, list_columns, progress, most)
    from g2is.examples.arrow_rows import read_dataset, read_parquet  # an import that reading text does not need

    if source.format == "Parquet":
        return read_parquet(source.file, progress, most)
    return read_dataset(source.dataset, source.size, progress, most)
