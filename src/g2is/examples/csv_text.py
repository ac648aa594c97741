"""CSV with a header row, as RFC 4180 has it: quoted fields may hold commas, quotes and line breaks."""

import csv
import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from g2is.config.strict import parse_json
from g2is.errors import InputError
from g2is.examples.lines import MAX_ROW_BYTES, TooLong, read_text, split_lines, too_long
from g2is.examples.records import Record
from g2is.progress import Progress


class _TooLongError(Exception):
    """The row in hand has more bytes than a row may have."""


def read_csv(
    path: Path, list_columns: Set[str], progress: Progress | None = None, most: int = MAX_ROW_BYTES
) -> Iterator[Record]:
    """Yield a record for each row after the header; every value is text.

    A cell of `list_columns` that begins with [ is read as JSON, since CSV has no lists. A row of more than `most` bytes
    cannot be used, and is never held whole. Raises InputError as `read_text`, and where header or quoting cannot be
    read.
    """
    csv.field_size_limit(most)  # for the whole process, whose default of 128 KiB is shorter than a document
    lines = _Lines(path, progress, most)
    rows = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        begin = lines.num + 1
        lines.begin_row()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except _TooLongError:
            problem = too_long(lines.pass_over(), most)
            if header is None or lines.ended:
                raise InputError(f"{path}:{begin}: {problem}; is a quote that opens here never closed?") from None
            yield Record(begin, b"", problem)
            continue
        except csv.Error as error:
            if header is None or lines.ended:
                raise InputError(
                    f"{path}:{begin}: expected a row of CSV, found: {error}; is a quote that opens here never closed?"
                ) from None
            yield Record(begin, lines.raw(), InputError(f"expected a row of CSV, found: {error}"))
            continue
        if not cells:
            continue
        if header is None:
            header = _checked_header(path, begin, cells)
            continue
        values = _values(header, cells, list_columns)
        if isinstance(values, InputError):
            yield Record(begin, lines.raw(), values)
        else:
            yield Record(begin, json.dumps(values, ensure_ascii=False).encode(), values)


class _Lines:
    """The file's lines as text, and those of the row in hand as bytes."""

    def __init__(self, path: Path, progress: Progress | None, most: int) -> None:
        self._lines = split_lines(read_text(path, progress), most)
        self._most = most
        self.num = 0
        self.taken: list[bytes] = []
        self._size = self._quotes = 0
        self.ended = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._next()
        if line is None:
            raise StopIteration
        if isinstance(line, TooLong) or self._size > self._most:
            raise _TooLongError
        self.taken.append(line)
        # A byte that is not UTF-8 spoils its row and no other.
        return line.decode("utf-8", "surrogateescape") + "\n"

    def begin_row(self) -> None:
        self.taken.clear()
        self._size = self._quotes = 0

    def pass_over(self) -> int:
        """Go to the end of the row in hand, where its quotes are closed, and return its bytes."""
        self.taken.clear()
        while self._quotes % 2 and self._next() is not None:
            pass
        return self._size

    def _next(self) -> bytes | TooLong | None:
        line = next(self._lines, None)
        if line is None:
            self.ended = True
            return None
        self.num += 1
        # the line break between lines of a row counts, that at its end does not
        self._size += (line.size if isinstance(line, TooLong) else len(line)) + bool(self._size)
        self._quotes += line.quotes if isinstance(line, TooLong) else line.count(b'"')
        return line

    def raw(self) -> bytes:
        return b"\n".join(self.taken)


def _checked_header(path: Path, line: int, names: list[str]) -> list[str]:
    place = f"{path}:{line}: expected a header row of column names"
    if _stray_byte(names) is not None:
        raise InputError(f"{place} in UTF-8, found byte 0x{_stray_byte(names):02x}; save the file as UTF-8")
    if names[0].lstrip()[:1] in ("{", "["):
        raise InputError(f"{place}, found JSON; rename the file to end in .jsonl or .json")
    if len(names) == 1 and (other := next((mark for mark in ";\t|" if mark in names[0]), None)):
        raise InputError(
            f"{place} with commas between them, found {names[0]!r}; save the file with , in place of {other!r}"
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{place}, found {', '.join(map(repr, repeated))} more than once")
    return names


def _values(header: list[str], cells: list[str], list_columns: Set[str]) -> dict[str, Any] | InputError:
    stray = _stray_byte(cells)
    if stray is not None:
        return InputError(f"expected UTF-8 text, found byte 0x{stray:02x}")
    if len(cells) != len(header):
        return InputError(f"expected {len(header)} fields as in the header, found {len(cells)}")
    values: dict[str, Any] = dict(zip(header, cells, strict=True))
    for name in list_columns & values.keys():
        if values[name].lstrip()[:1] == "[":
            try:
                values[name] = parse_json(values[name])
            except ValueError as error:
                return InputError(f"expected a JSON list in `{name}`, found bad JSON: {error}")
    return values


def _stray_byte(cells: list[str]) -> int | None:
    """Return the first byte that is not UTF-8, which surrogateescape has made a lone surrogate."""
    try:
        "".join(cells).encode()
    except UnicodeEncodeError as error:
        return ord(error.object[error.start]) - 0xDC00
    return None
