r"""JSON in its shapes: lines, an array, objects over several lines, an object around one list of objects.

Text that is no sequence of lines is decoded from a buffer that grows by need and forgets what was read, so that memory
follows the longest object, not the file.
"""

import codecs
import json
import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, NoReturn

from g2is.config.strict import JsonDecoder
from g2is.errors import InputError
from g2is.examples.lines import MAX_ROW_BYTES, TooLong, read_lines, read_text, too_long
from g2is.examples.records import Record
from g2is.examples.values import json_type
from g2is.progress import Progress

_HEAD = 1 << 20  # characters looked at to tell the shape
_CUT = 16  # an error so near the end of the buffer may be that of a value cut there
# which keeps no place to go back to for each character
_STRING = r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_SCALAR = rf"(?:{_STRING}|-?\d[\d.eE+-]*|true|false|null)"
_WRAPPED = re.compile(rf"\{{\s*(?:{_STRING}\s*:\s*{_SCALAR}\s*,\s*)*(?P<key>{_STRING})\s*:\s*(?=\[\s*\{{)")
_AFTER_WRAPPED = re.compile(rf"\s*(?:,\s*{_STRING}\s*:\s*{_SCALAR}\s*)*\}}\s*")
_LINE_BREAK = re.compile(r"[ \t]*[\r\n][ \t\r\n]*")  # never inside a string: JSON has it escaped there
_MOST_DEPTH = 100  # of lists and objects in a row
# what matters of a value that is passed over
_OUTSIDE, _IN_STRING, _AFTER_SCALAR = (
    re.compile(r'["\[\]{}]'),
    re.compile(r'"|\\.?', re.DOTALL),
    re.compile(r"[,\]}\s]"),
)
_BLANK = re.compile(r"[ \t\r\n]*")


def read_json_lines(path: Path, progress: Progress | None = None, most: int = MAX_ROW_BYTES) -> Iterator[Record]:
    """Yield a record for each line that is not blank. Raises InputError as `read_text`, and for a JSON array.

    A line of more than `most` bytes cannot be used, and is never held whole.
    """
    first, decoder = True, JsonDecoder()
    for number, raw in read_lines(path, progress, most):
        if isinstance(raw, TooLong):
            first = False
            yield Record(number, b"", too_long(raw.size, most))
            continue
        values = _parse(raw, decoder)
        if first and (raw.strip() == b"[" or (raw.lstrip()[:1] == b"[" and isinstance(values, InputError))):
            raise InputError(
                f"{path}:{number}: expected JSON lines from its suffix, found a JSON array; rename it to end in .json"
            )
        first = False
        yield Record(number, raw, values)


def read_json(
    path: Path, list_columns: Set[str], progress: Progress | None = None, most: int = MAX_ROW_BYTES
) -> Iterator[Record]:
    """Yield the records of an array, of JSON lines or of objects one after the other; the first byte tells which.

    An object that holds one list of objects and else only texts and numbers is read as that list, unless the list's
    name is among `list_columns`. An object of more than `most` bytes cannot be used, and is never held whole. Raises
    InputError as `read_text`, and where the rest of the file cannot be read.
    """
    text = _Text(path, progress, most)
    first = text.peek()
    if first == "[":
        yield from _array(text)
    elif first == "{":
        head = text.head()
        line, newline, more = head.partition("\n")
        is_row = bool(newline) and isinstance(_parse(line.encode("utf-8", "surrogatepass"), JsonDecoder()), dict)
        wrapped = _WRAPPED.match(head)
        is_one_of_rows = is_row and bool(more.strip())  # which may hold a list of objects
        if wrapped is not None and not is_one_of_rows and json.loads(wrapped["key"]) not in list_columns:
            text.skip(wrapped.end())
            yield from _array(text, end=_AFTER_WRAPPED)
            return
        if is_row:
            yield from read_json_lines(path, progress, most)  # which finds the next row where one is broken
            return
        while text.peek():
            yield _record(*text.value())
    elif first:
        text.fail("expected a JSON array or JSON objects", f"found {first!r}")


def _array(text: "_Text", end: re.Pattern[str] | None = None) -> Iterator[Record]:
    """Yield the records of the array that begins here; after it the file ends, or `end` matches the rest."""
    text.skip(1)
    if text.peek() == "]":
        text.skip(1)
    else:
        while True:
            yield _record(*text.value())
            found = text.peek()
            if found not in (",", "]"):
                text.fail("expected , or ] after an object of the array", f"found {text.found(found)}")
            text.skip(1)
            if found == "]":
                break
            text.peek()
    found = text.peek()
    if end is not None and end.fullmatch(text.head()):
        return
    if end is not None:
        text.fail(
            "expected one list of objects, and texts or numbers beside it", "found more; convert it to JSON lines"
        )
    if found:
        text.fail("expected the end of the file after the JSON array", f"found {found!r}")


def _record(line: int, text: str, value: Any, problem: str | None) -> Record:
    raw = _LINE_BREAK.sub(" ", text).encode()
    return Record(line, raw, value if isinstance(value, InputError) else _usable(value, problem, text))


def _parse(raw: bytes, decoder: JsonDecoder) -> dict[str, Any] | InputError:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return InputError(f"expected UTF-8 text, found byte 0x{raw[error.start]:02x} at byte {error.start + 1}")
    try:
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        return InputError(f"expected a JSON object, found bad JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, lists in lists in lists …
        return InputError(f"expected a JSON object, found one that cannot be parsed: {error}")
    return _usable(value, decoder.problem, text)


def _usable(value: Any, problem: str | None, text: str) -> dict[str, Any] | InputError:
    """The row that `value` is, read from `text`, or why it is none."""
    if not isinstance(value, dict):
        return _not_an_object(value)
    if problem:
        name = f" in the row with id {value['id']!r}" if isinstance(value.get("id"), str | int) else ""
        return InputError(f"expected a JSON object{name}, found {problem}")
    try:
        "".join(value).encode()
    except UnicodeEncodeError:
        return InputError("expected column names to be Unicode text, found a lone surrogate in one")
    if text.count("[") + text.count("{") > _MOST_DEPTH and _is_deeper(value, _MOST_DEPTH):
        return InputError(f"expected a JSON object, found one that is nested more than {_MOST_DEPTH} deep")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _not_an_object(value: Any) -> InputError:
    return InputError(f"expected a JSON object, found {json_type(value)}")


class _Text:
    """The file's text from the place that is read, of which a part is in memory."""

    def __init__(self, path: Path, progress: Progress | None, most: int) -> None:
        self._path = path
        self._most = most
        self._chunks = read_text(path, progress)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = JsonDecoder()
        self._text = ""
        self._at = 0
        self._line = 1  # of the character at `_at`
        self._ended = False

    def peek(self) -> str:
        """Go to the next character that is not blank and return it, or "" at the end of the file."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            assert blank is not None
            self._go_to(blank.end())
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._grow(1)

    def head(self) -> str:
        """Return what follows, up to `_HEAD` characters (or what is in memory of more)."""
        if len(self._text) - self._at < _HEAD:
            self._grow(_HEAD - (len(self._text) - self._at))
        return self._text[self._at :]

    def skip(self, num: int) -> None:
        """Go on by `num` characters that are in memory."""
        self._go_to(self._at + num)

    def value(self) -> tuple[int, str, Any, str | None]:
        """Read one JSON value: the line where it begins, its text, what it says, and what of it is not sound.

        Of one that is too long the text is "", and what it says is an InputError. Raises InputError if it is bad.
        """
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _CUT
                if self._ended and error.pos >= len(self._text.rstrip()):
                    self.fail("expected the rest of the JSON object that begins here", "found the end of the file")
                if self._ended or not cut:
                    self._go_to(error.pos)
                    self.fail("expected a JSON object", f"found bad JSON: {error.msg}")
            except (ValueError, RecursionError) as error:
                self.fail("expected a JSON object", f"found one that cannot be parsed: {error}")
            else:
                if end < len(self._text) or self._ended:  # a number might go on
                    break
            held = len(self._text) - self._at
            if held > self._most:
                line = self._line
                return line, "", too_long(self._pass_over(), self._most), None
            self._grow(min(held, self._most - held + 1))  # twice as much: the retries cost no more than the last
        line, text = self._line, self._text[self._at : end]
        self._go_to(end)
        if 4 * len(text) > self._most and (size := len(text.encode("utf-8", "surrogatepass"))) > self._most:
            return line, "", too_long(size, self._most), None
        return line, text, value, self._json.problem

    def _pass_over(self) -> int:
        """Go past the value that begins here without holding it, and return its bytes. Raises InputError at the end."""
        begin = self._line
        size = depth = 0
        first, in_string, is_over = self._text[self._at], False, False
        while not is_over:
            at = self._at
            pattern = _IN_STRING if in_string else _OUTSIDE if first in '"[{' else _AFTER_SCALAR
            found = pattern.search(self._text, at)
            end = len(self._text) if found is None else found.end()
            mark = "" if found is None else found.group()[0]
            if pattern is _AFTER_SCALAR:
                end, is_over = end - len(mark), bool(mark) or self._ended
            elif mark == '"':
                in_string = not in_string
            elif mark in ("[", "{"):
                depth += 1
            elif mark in ("]", "}"):
                depth -= 1
            elif found is not None and mark == "\\" and end - found.start() < 2:  # what is escaped is not in memory yet
                end -= 1
            is_over = is_over or (mark in ('"', "]", "}") and not in_string and depth == 0)
            size += len(self._text[at:end].encode("utf-8", "surrogatepass"))
            self._go_to(end)
            if not is_over and (found is None or end == at):
                if self._ended:
                    self._line = begin
                    self.fail("expected the rest of the JSON object that begins here", "found the end of the file")
                self._grow(1)
        return size

    def fail(self, expected: str, found: str) -> NoReturn:
        """Raise the InputError of this place, from which on nothing can be read."""
        raise InputError(
            f"{self._path}:{self._line}: {expected}, {found}; the rest of the file cannot be read. Mend it there"
        )

    def found(self, character: str) -> str:
        """Return `character` as a message names it."""
        return repr(character) if character else "the end of the file: it is truncated"

    def _go_to(self, place: int) -> None:
        self._line += self._text.count("\n", self._at, place)
        self._at = place

    def _grow(self, num: int) -> None:
        parts = [self._text[self._at :]]
        self._at = 0
        while num > 0 and not self._ended:
            chunk = next(self._chunks, None)
            self._ended = chunk is None
            try:
                parts.append(self._decoder.decode(chunk or b"", final=self._ended))
            except UnicodeDecodeError as error:
                self._line += "".join(parts).count("\n") + error.object[: error.start].count(b"\n")
                self.fail("expected UTF-8 text", f"found byte 0x{error.object[error.start]:02x}")
            num -= len(parts[-1])
        self._text = "".join(parts)
