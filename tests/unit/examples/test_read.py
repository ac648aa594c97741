import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.read import REMEDY, Example, read_examples
from g2is.examples.sources import find_sources

Write = Callable[..., Path]
ROW = {"prompt": "q", "completion": "a"}


def read(*paths: Path, **settings: Any) -> Iterator[Example]:
    return read_examples(find_sources(list(map(str, paths))), ExamplesConfig(**settings))


def test_rows_are_numbered_without_blank_lines_and_lines_with_them(write_rows: Write) -> None:
    path = write_rows({"id": "first", **ROW}, "", {"id": 7, **ROW}, "   ", ROW)
    examples = list(read(path))
    assert [(example.row, example.line, example.id) for example in examples] == [
        (0, 1, "first"),
        (1, 3, "7"),
        (2, 5, "row-2"),
    ]


def test_raw_is_the_line_byte_for_byte(write_rows: Write) -> None:
    line = '{"completion" :"caf\\u00e9 \u00e9",  "prompt":"q"}\t\r'.encode()
    (example,) = read(write_rows(b"\xef\xbb\xbf" + line))
    assert example.raw == line
    assert example.messages == (("user", "q"), ("assistant", "café é"))


def test_examples_are_streamed_before_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b'{"prompt": "q", "completion": "a"}\n' * 5000 + b"not json\n")
    examples = read(path)
    assert next(examples).row == 0
    with pytest.raises(InputError, match=":5001: expected a JSON object, found bad JSON"):
        list(examples)


def test_a_bad_row_has_a_number_too(write_rows: Write) -> None:
    seen: list[int] = []
    with pytest.raises(InputError, match="1 row cannot be used"):
        seen.extend(example.row for example in read(write_rows(ROW, "{", ROW)))
    assert seen == [0, 2]


def test_all_problems_are_reported_together_with_line_and_id(write_rows: Write) -> None:
    path = write_rows(
        {"id": "fine", **ROW},
        "{",
        "",
        "[1]",
        b'{"id": "latin", "prompt": "\xe9"}',
        {"id": "fine", **ROW},
        {"id": "null", "prompt": None, "completion": "a"},
        {"id": "other", "instruction": "q", "output": "a"},
        {"id": "lost", "prompt": "q"},
        {"id": True, **ROW},
        {"id": "", **ROW},
        b"[" * 100_000,
        b'{"prompt": ' + b"1" * 5000 + b"}",
    )
    with pytest.raises(InputError) as error:
        list(read(path))
    head, *problems, remedy = [*str(error.value).split("\n  "), str(error.value).splitlines()[-1]]
    assert head == f"{path}: 11 rows cannot be used:"
    assert remedy == REMEDY
    places = [f"{path}:{place}" for place in ("2:", "4:", "5:", "6 (fine):", "7 (null):", "8 (other):", "9 (lost):")]
    places += [f"{path}:{line}:" for line in (10, 11, 12, 13)]
    assert len(problems) == len(places)
    for problem, place in zip(problems, places, strict=True):
        assert problem.startswith(place)
        assert "expected" in problem
        assert "found" in problem
    assert "found that of line 1" in problems[3]
    assert "found columns id, instruction, output (alpaca)" in problems[5]
    assert "found columns id, prompt" in problems[6]


def test_twenty_problems_are_shown_and_the_rest_counted(write_rows: Write) -> None:
    path = write_rows(*["null"] * 53)
    with pytest.raises(InputError, match="53 rows cannot be used") as error:
        list(read(path))
    assert str(error.value).count(f"{path}:") == 1 + 20
    assert "… and 33 more" in str(error.value)


def test_unknown_columns_are_listed_beside_the_known_schemas(write_rows: Write) -> None:
    path = write_rows({"dialogue": [], "system": ""})
    with pytest.raises(InputError) as error:
        list(read(path))
    assert "found columns dialogue, system" in str(error.value)
    for known in ("messages (messages)", "instruction, output (alpaca)", "prompt, completion (prompt/completion)"):
        assert known in str(error.value)


def test_an_id_that_looks_like_a_given_name_is_a_duplicate(write_rows: Write) -> None:
    path = write_rows({"id": "row-1", **ROW}, ROW)
    with pytest.raises(InputError, match=r":2 \(row-1\): expected an id that no other row has, found that of line 1"):
        list(read(path))


def test_integer_and_string_of_the_same_id_are_duplicates(write_rows: Write) -> None:
    with pytest.raises(InputError, match="found that of line 1"):
        list(read(write_rows({"id": 1, **ROW}, {"id": "1", **ROW})))


def test_an_id_with_half_a_surrogate_pair_is_refused(write_rows: Write) -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        list(read(write_rows({"id": "\ud83d", **ROW})))


def test_a_file_of_blank_lines_holds_no_examples(write_rows: Write) -> None:
    with pytest.raises(InputError, match="expected at least one row, found none"):
        list(read(write_rows("", "  ", "\t")))


def test_the_line_s_own_bytes_are_kept(tmp_path: Path) -> None:
    lines = [b'{"prompt": "q", "completion":  "%d"}\r' % number for number in range(5)]
    path = tmp_path / "pool.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n\n".join(lines)))
    assert [example.raw for example in read(path)] == lines


def test_reading_needs_no_heavy_import() -> None:
    code = "import sys, g2is.examples.read; print({'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
