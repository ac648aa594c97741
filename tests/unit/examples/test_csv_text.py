import csv
import gzip
import json
from pathlib import Path

import pytest

from g2is.errors import InputError
from g2is.examples.csv_text import read_csv
from g2is.examples.schemas import LIST_COLUMNS


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_quoted_fields_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    rows = [{"a": 'x, "y"\n\nz', "b": "é\r\n"}, {"a": "", "b": " b "}, {"a": "[1]", "b": "1.50"}]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["a", "b"])
        writer.writeheader()
        writer.writerows(rows)
    records = list(read_csv(path, LIST_COLUMNS))
    assert [record.values for record in records] == rows
    assert [record.line for record in records] == [2, 6, 7]
    assert [json.loads(record.raw) for record in records] == rows
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [record.values for record in read_csv(packed, LIST_COLUMNS)] == rows


def test_a_field_longer_than_the_usual_limit_is_read(tmp_path: Path) -> None:
    (record,) = read_csv(write(tmp_path / "rows.csv", "a,b\n" + "x" * 300_000 + ",y\n"), LIST_COLUMNS)
    assert isinstance(record.values, dict)
    assert len(record.values["a"]) == 300_000


def test_lists_of_turns_are_read_from_json(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", 'messages,x\n"[{""role"": ""user""}]",[1\n[oops,[1\n')
    good, bad = read_csv(path, LIST_COLUMNS)
    assert good.values == {"messages": [{"role": "user"}], "x": "[1"}
    assert good.raw == b'{"messages": [{"role": "user"}], "x": "[1"}'
    assert "expected a JSON list in `messages`" in str(bad.values)


def test_a_bad_row_spoils_no_other_and_keeps_its_bytes(tmp_path: Path) -> None:
    data = b'a,b\n1,2\n1,2,3\n\n1\n"x"y,2\n\xe9,2\n"p\nq",2,3\n5,6\n'
    records = list(read_csv(write(tmp_path / "rows.csv", data), LIST_COLUMNS))
    problems = [(r.line, str(r.values), r.raw) for r in records if isinstance(r.values, InputError)]
    assert [(line, raw) for line, _, raw in problems] == [
        (3, b"1,2,3"),
        (5, b"1"),
        (6, b'"x"y,2'),
        (7, b"\xe9,2"),
        (8, b'"p\nq",2,3'),
    ]
    assert problems[0][1] == "expected 2 fields as in the header, found 3"
    assert "expected a row of CSV" in problems[2][1]
    assert "expected UTF-8 text, found byte 0xe9" in problems[3][1]
    assert [r.values for r in records if isinstance(r.values, dict)] == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}]


@pytest.mark.parametrize(
    ("data", "line", "expected"),
    [
        ('a,b\n1,2\n"never,closed\n3,4\n', 3, "is a quote that opens here never closed"),
        ("a,b,a\n1,2,3\n", 1, "found 'a' more than once"),
        (b"a,\xe9\n1,2\n", 1, "found byte 0xe9; save the file as UTF-8"),
        ('{"a": 1}\n{"a": 2}\n', 1, r"found JSON; rename the file to end in \.jsonl"),
    ],
)
def test_what_cannot_be_read_on_is_one_error_at_its_line(
    data: str | bytes, line: int, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.csv", data)
    with pytest.raises(InputError, match=expected) as error:
        list(read_csv(path, LIST_COLUMNS))
    assert str(error.value).startswith(f"{path}:{line}: expected")


def test_a_spreadsheet_in_utf_16_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"found UTF-16 data .*convert it to UTF-8"):
        list(read_csv(path, LIST_COLUMNS))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_header_without_commas_says_what_to_save_it_with(mark: str, tmp_path: Path) -> None:
    place = tmp_path / "rows.csv"
    place.write_text(f"question{mark}answer\n2+2?{mark}4\n")
    with pytest.raises(InputError, match=r"rows.csv:1: expected a header row .* with commas .*save the file with ,"):
        list(read_csv(place, set()))
