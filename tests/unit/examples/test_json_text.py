import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from g2is.errors import InputError
from g2is.examples import json_text, lines
from g2is.examples.json_text import read_json, read_json_lines
from g2is.examples.schemas import LIST_COLUMNS

ROWS = [
    {"id": "a", "prompt": 'brackets ] } , "quoted" \\', "completion": "é \u2028 \x7f"},
    {"id": "b", "prompt": "q", "completion": "line\nbreak"},
    {"id": "c", "messages": [{"role": "user", "content": "[{"}], "n": -1.5e3},
]
PRETTY = "\n".join(json.dumps(row, indent=2, ensure_ascii=False) for row in ROWS)


def write(path: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif path.suffix == ".zst":
        data = zstandard.ZstdCompressor().compress(data)
    path.write_bytes(data)
    return path


def values(path: Path) -> list[Any]:
    return [record.values for record in read_json(path, LIST_COLUMNS)]


SHAPES = {
    "array": json.dumps(ROWS),
    "pretty array": json.dumps(ROWS, indent=2, ensure_ascii=False),
    "byte order mark": "\ufeff \n" + json.dumps(ROWS),
    "lines": "".join(json.dumps(row) + "\n" for row in ROWS),
    "pretty objects": PRETTY,
    "objects on one line": "".join(json.dumps(row) for row in ROWS),
    "wrapped": json.dumps({"data": ROWS}),
    "wrapped with more": json.dumps({"version": '1"{', "n": 3, "rows": ROWS, "license": None, "ok": True}, indent=1),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.zst"])
@pytest.mark.parametrize("chunk", [5, 64, 1 << 16])
def test_every_shape_holds_the_same_rows(
    shape: str, suffix: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr(json_text, "_HEAD", 150)
    assert values(write(tmp_path / f"rows{suffix}", SHAPES[shape])) == ROWS


def test_a_row_has_the_line_where_it_begins_and_its_bytes_on_one_line(tmp_path: Path) -> None:
    text = '[\n  {"a" :"x\\n  y",\n\n   "b":  [1,\r\n\t2]},\n\n\n {"a": "é"} ]'
    first, second = read_json(write(tmp_path / "rows.json", text), LIST_COLUMNS)
    assert (first.line, second.line) == (2, 8)
    assert first.raw == b'{"a" :"x\\n  y", "b":  [1, 2]}'
    assert second.raw == '{"a": "é"}'.encode()
    pretty = list(read_json(write(tmp_path / "pretty.json", PRETTY), LIST_COLUMNS))
    assert [record.line for record in pretty] == [1, 6, 11]
    assert [json.loads(record.raw) for record in pretty] == ROWS
    assert not any(b"\n" in record.raw for record in pretty)


def test_a_list_of_turns_is_a_row_and_not_a_list_of_rows(tmp_path: Path) -> None:
    row = {"id": "x", "messages": [{"role": "user", "content": "q"}]}
    assert values(write(tmp_path / "one.json", json.dumps(row, indent=1))) == [row]
    mapped = {"dialogue": [{"role": "user", "content": "q"}]}
    path = write(tmp_path / "mapped.json", json.dumps(mapped))
    assert [record.values for record in read_json(path, LIST_COLUMNS | {"dialogue"})] == [mapped]
    assert values(path) == mapped["dialogue"]


def test_rows_that_hold_a_list_of_objects_are_rows(tmp_path: Path) -> None:
    rows = [{"question": f"q{of}", "answer": "a", "documents": [{"title": "t"}]} for of in range(3)]
    path = write(tmp_path / "pool.json", "".join(json.dumps(row) + "\n" for row in rows))
    assert values(path) == rows
    path = write(tmp_path / "wrapped.json", json.dumps({"data": rows}) + "\n\n")
    assert values(path) == rows, "one line that wraps all is no row"


def test_a_row_of_an_array_that_is_no_object_is_one_problem(tmp_path: Path) -> None:
    found = values(write(tmp_path / "rows.json", '[{"a": 1}, 12, [], null, {"a": 2}]'))
    assert [value for value in found if isinstance(value, dict)] == [{"a": 1}, {"a": 2}]
    assert [str(value) for value in found if isinstance(value, InputError)] == [
        f"expected a JSON object, found {what}" for what in ("a number", "a list", "null")
    ]


def test_a_broken_line_of_json_lines_spoils_no_other(tmp_path: Path) -> None:
    found = values(write(tmp_path / "rows.json", '{"a": 1}\n{"a": \n{"a": 3}\n'))
    assert (found[0], found[2]) == ({"a": 1}, {"a": 3})
    assert "bad JSON" in str(found[1])


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ('[{"a": 1},\n{"a": 2]\n' + ' {"b": 1}' * 9, 2, "bad JSON"),
        ('[{"a": 1}\n{"a": 2}]', 2, r"expected , or \] after an object of the array, found '{'"),
        ('[{"a": 1},\n{"a": 2},\n', 3, "found the end of the file"),
        ('[{"a": 1},\n{"a": 2}\n', 3, "the end of the file: it is truncated"),
        ('[{"a": 1},\n{"a":\n "b', 3, "bad JSON: Unterminated string"),
        ('[{"a": 1},\n{"a":\n', 2, "expected the rest of the JSON object that begins here"),
        ('[{"a": 1},\n]', 2, "bad JSON"),
        ('[{"a": 1}]\n[{"a": 2}]', 2, "expected the end of the file after the JSON array"),
        ('[\n{"a": "b\nc"}]' + " " * 50, 2, "Invalid control character"),
        ('{\n"a": 1}\n{"a": 2,\n"b" 3}' + " " * 50, 4, "bad JSON"),
        ('{"data": [\n{"a": 1}], "more": [{"b": 1}]}', 2, "expected one list of objects"),
        ('\n"text"', 2, "expected a JSON array or JSON objects"),
        (b'[{"a": 1},\n{"a": "\xe9"}]', 2, "expected UTF-8 text, found byte 0xe9"),
        ("[" * 100_000, 1, "cannot be parsed"),
        ('[\n{"a": ' + "1" * 5000 + "}]", 2, "cannot be parsed"),
    ],
)
def test_what_cannot_be_read_on_is_one_error_at_its_line(
    text: str | bytes, line: int, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.json", text)
    with pytest.raises(InputError, match=expected) as error:
        values(path)
    assert str(error.value).startswith(f"{path}:{line}: expected")


def test_a_mistake_is_found_without_reading_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.json", '[{"a": 1}, {"a" 2}, ' + '{"a": 1}, ' * 200_000)
    read: list[int] = []
    with pytest.raises(InputError, match="bad JSON"):
        list(read_json(path, LIST_COLUMNS, lambda done, total: read.append(done)))
    assert max(read, default=0) < path.stat().st_size / 10


def test_an_array_under_the_suffix_of_lines_is_named(tmp_path: Path) -> None:
    for text in (json.dumps(ROWS, indent=1), '[{"a": 1},\n{"a": 2}]'):
        with pytest.raises(InputError, match=r"found a JSON array; rename it to end in \.json"):
            list(read_json_lines(write(tmp_path / "rows.jsonl", text)))


@pytest.mark.parametrize("key", ["da\nta", "da\x01ta", "da\\qta", "da\\u12ta"])
def test_a_key_that_json_does_not_allow_is_told_and_not_raised(key: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", f'{{"{key}": [{{"prompt": "q", "completion": "a"}}]}}')
    with pytest.raises(json.JSONDecodeError):
        json.loads(path.read_text())
    with pytest.raises(InputError, match="expected a JSON object, found bad JSON"):
        values(path)
