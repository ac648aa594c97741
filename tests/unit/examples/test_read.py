import csv
import gzip
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from talk import pairs

from g2is.config import ExamplesConfig
from g2is.errors import ConfigError, InputError
from g2is.examples.columns import Seen, check_columns
from g2is.examples.problems import Problems
from g2is.examples.read import REMEDY, Example, ExampleReader, read_examples
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


@pytest.mark.parametrize("text", ["[{0}, {1}]", "{0}{1}", "[{0},\n{1}]"])
def test_an_id_that_two_rows_of_a_line_have_is_told(text: str, tmp_path: Path) -> None:
    rows = [json.dumps({"id": "x", "question": of, "answer": "a"}) for of in ("one", "two")]
    (tmp_path / "pool.json").write_text(text.replace("{0}", rows[0]).replace("{1}", rows[1]))
    with pytest.raises(InputError, match="expected an id that no other row has, found that of"):
        list(read(tmp_path / "pool.json"))


def test_raw_is_the_line_byte_for_byte(write_rows: Write) -> None:
    line = '{"completion" :"caf\\u00e9 \u00e9",  "prompt":"q"}\t\r'.encode()
    (example,) = read(write_rows(b"\xef\xbb\xbf" + line))
    assert example.raw == line
    assert pairs(example.conversation) == (("user", "q"), ("assistant", "café é"))


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


def test_what_else_is_wrong_shows_behind_twenty_problems_of_a_kind(write_rows: Write) -> None:
    empty = {"instruction": "a", "output": ""}
    path = write_rows(*[empty] * 25, "{", empty, "{", {"dialogue": []})
    with pytest.raises(InputError, match="cannot be used") as error:
        list(read(path))
    *_, counted, first, second, _ = str(error.value).splitlines()
    assert counted.endswith("… and 9 more, among them of other kinds:")
    assert first.startswith(f"  {path}:26: expected a JSON object")
    assert second.startswith(f"  {path}:29 (row-28): expected")


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
    with pytest.raises(InputError, match="a row without goes by `row-N`, so give it an id"):
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


def test_rows_are_numbered_over_all_files_and_keep_their_places(write_rows: Write, tmp_path: Path) -> None:
    first = write_rows(ROW, "", {"id": 3, "source": "own", "group": 7, **ROW}, name="one.dev.jsonl")
    table = tmp_path / "two.csv"
    table.write_text('id,question,answer,source,group\n,q,"a\nb",,\nx,q,a,s,g\n')
    examples = list(read(first, table))
    assert [(e.row, e.id, e.file, e.line, e.source, e.group) for e in examples] == [
        (0, "row-0", str(first), 1, "one.dev", None),
        (1, "3", str(first), 3, "own", "7"),
        (2, "row-2", str(table), 2, "two", None),
        (3, "x", str(table), 4, "s", "g"),
    ]


def test_an_id_of_another_file_names_both_places_and_what_to_do(write_rows: Write) -> None:
    one, two = write_rows(ROW, {"id": "a", **ROW}, name="1.jsonl"), write_rows({"id": "a", **ROW}, name="2.jsonl")
    with pytest.raises(InputError, match=r"2\.jsonl:1 \(a\): .*found that of .*1\.jsonl:2; put the file's name before"):
        list(read(one, two))


def test_an_id_of_a_row_that_cannot_be_used_is_still_free(write_rows: Write) -> None:
    path = write_rows({"id": "a", "prompt": "q"}, {"id": "a", **ROW})
    assert [example.row for example in read(path, on_bad_row="skip")] == [1]


def test_problems_of_all_files_come_together(write_rows: Write, tmp_path: Path) -> None:
    good = write_rows(ROW, "[1]", name="good.jsonl")
    cut = tmp_path / "cut.json"
    cut.write_text('[{"prompt": "q", "completion": "a"},\n')
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1\n" + "1,2\n" * 100)
    with pytest.raises(InputError) as error:
        list(read(good, cut, table))
    head, *problems = str(error.value).splitlines()
    assert head == f"{good} and 2 more: 2 rows and 2 files cannot be used:"
    places = [f"{good}:2: expected a JSON object", f"{cut}:2: expected the rest"]
    places += [f"{table}:2: expected 2 fields", f"{table}: expected columns messages"]  # once, not for each row
    assert [problem.strip().startswith(place) for problem, place in zip(problems, places, strict=False)] == [True] * 4
    with pytest.raises(InputError, match="found the end of the file"):  # nobody knows how many rows would be lost
        list(read(good, cut, table, on_bad_row="skip"))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "question,answer\n"), ("a.json", "[]"), ("a.json", "  "), ("a.jsonl", "\n")],
)
def test_a_file_without_rows_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}: expected at least one row, found none"):
        list(read(tmp_path / name))


def test_files_may_differ_in_schema_but_rows_of_one_file_not(write_rows: Write) -> None:
    qa = {"question": "q", "answer": "a"}
    one, two = write_rows(ROW, name="1.jsonl"), write_rows(qa, qa, name="2.jsonl")
    assert [pairs(example.conversation) for example in read(one, two)] == [(("user", "q"), ("assistant", "a"))] * 3
    mixed = write_rows(ROW, qa, name="3.jsonl")
    with pytest.raises(InputError, match=r"3\.jsonl:2 \(row-1\): .*as in the rows before, found .*\(question/answer\)"):
        list(read(mixed))


def test_columns_are_read_under_the_names_given_and_others_under_their_own(write_rows: Write) -> None:
    path = write_rows({"Frage": "q", "Solution": "a", "answer": "hint", "uid": 5, "task": "t"})
    named = {"question": "Frage", "answer": "Solution", "id": "uid", "source": "task", "system": "absent"}
    (example,) = read(path, columns=named)
    assert (example.id, example.source) == ("5", "t")
    assert pairs(example.conversation) == (("user", "q"), ("assistant", "a"))
    swapped = write_rows({"prompt": "a", "completion": "q"})
    (example,) = read(swapped, columns={"prompt": "completion", "completion": "prompt"})
    assert pairs(example.conversation) == (("user", "q"), ("assistant", "a"))
    (example,) = read(
        write_rows({"dialogue": "x", "turns": [{"from": "gpt", "value": "a"}]}), columns={"messages": "turns"}
    )
    assert pairs(example.conversation) == (("assistant", "a"),)


@pytest.mark.parametrize("first", ["tools", "messages", "prompt", "history"])
def test_one_object_over_several_lines_is_a_row_whatever_list_comes_first(first: str, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows: dict[str, dict[str, Any]] = {
        "tools": {"tools": [{"name": "f"}], "messages": turns},
        "messages": {"messages": turns, "tools": [{"name": "f"}]},
        "prompt": {"prompt": turns[:1], "completion": turns[1:]},
        "history": {"history": [], "instruction": "q", "output": "a"},
    }
    path = tmp_path / "one.json"
    path.write_text(json.dumps(rows[first], indent=1))
    (example,) = read(path)
    assert [turn.content for turn in example.conversation.turns] == ["q", "a"]
    assert len(example.conversation.tools) == ("tools" in rows[first])


def test_the_layout_asked_for_is_read_where_a_row_has_its_columns(write_rows: Write) -> None:
    both = write_rows({**ROW, "question": "Q", "answer": "A"}, name="both.jsonl")
    other = write_rows(ROW, name="other.jsonl")
    examples = list(read(both, other, layout="question/answer"))
    assert [example.conversation.turns[0].content for example in examples] == ["Q", "q"]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("first", [0, 1])
def test_rows_joined_from_files_of_several_layouts_are_each_read_by_their_own(
    ending: str, first: int, tmp_path: Path, write_rows: Write
) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows: list[dict[str, Any]] = [
        {"messages": turns, "prompt": None, "completion": None},
        {"messages": None, **ROW},
    ]
    joined = [rows[first], rows[1 - first], rows[first]]
    path = tmp_path / "joined.parquet"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(joined), path)
    else:
        path = write_rows(*joined)
    reader = ExampleReader(find_sources([str(path)]), ExamplesConfig(), Problems("pool"))
    assert [pairs(example.conversation) for example in reader] == [(("user", "q"), ("assistant", "a"))] * 3
    assert set(reader.seen.layouts) == {"messages", "prompt/completion"}
    assert reader.seen.unread == ()


def test_a_mapped_column_hides_nothing_of_a_file_that_has_none_such(write_rows: Write) -> None:
    mapped = {"output": "response", "input": "context"}
    theirs = write_rows({"instruction": "q", "context": "c", "response": "a", "output": "o"}, name="theirs.jsonl")
    ours = write_rows({"instruction": "q", "input": "i", "output": "a"}, name="ours.jsonl")
    flan = write_rows({"inputs": "q", "targets": "a", "input": "i"}, name="flan.jsonl")
    for path, texts, unread in (
        (theirs, ["q\n\nc", "a"], "output"),
        (ours, ["q\n\ni", "a"], ""),
        (flan, "qa", "input"),
    ):
        reader = ExampleReader(find_sources([str(path)]), ExamplesConfig(columns=mapped), Problems("pool"))
        assert [turn.content for example in reader for turn in example.conversation.turns] == list(texts)
        assert ",".join(reader.seen.unread) == unread


def test_the_layout_asked_for_stays_so_after_a_row_of_another(write_rows: Write) -> None:
    nulls = {"instruction": None, "output": None, "question": "Q", "answer": "A"}
    path = write_rows(nulls, {"instruction": "i", "output": "o", "question": "Q", "answer": "A"})
    found = [pairs(example.conversation) for example in read(path, layout="alpaca")]
    assert found == [(("user", "Q"), ("assistant", "A")), (("user", "i"), ("assistant", "o"))]


def test_a_row_without_the_columns_of_its_file_is_refused_though_others_have_nulls(write_rows: Write) -> None:
    path = write_rows({"messages": None, **ROW}, {"instruction": "i", "output": "o"})
    with pytest.raises(InputError, match="expected columns prompt, completion as in the rows before"):
        list(read(path))


@pytest.mark.parametrize("value", [True, 1.5, ["x"], {"a": 1}])
def test_a_source_that_is_no_word_is_refused_with_a_way_out(value: object, write_rows: Write) -> None:
    path = write_rows({"source": value, "task": "t", **ROW})
    with pytest.raises(InputError, match="map another column to it with --column source=NAME"):
        list(read(path))
    assert next(read(path, columns={"source": "task"})).source == "t"


def test_a_column_of_no_file_is_refused_with_those_found() -> None:
    seen = Seen(("Question", "Solution"), ("question/answer",), (), ("answer", "question"))
    check_columns({"answer": "Solution"}, [seen])
    with pytest.raises(ConfigError, match=r"answer=Soluton: .*found only Question, Solution"):
        check_columns({"answer": "Soluton", "question": "Question"}, [seen])


def test_a_column_mapped_to_what_no_layout_reads_is_refused_with_what_they_read(write_rows: Write) -> None:
    path = write_rows({**ROW, "output": "x", "answer": "y"})
    columns = {"completion": "completion", "instruction": "output", "answer": "answer"}
    reader = ExampleReader(find_sources([str(path)]), ExamplesConfig(columns=columns), Problems("pool"))
    assert len(list(reader)) == 1
    assert reader.seen.mapped == ("completion",)
    with pytest.raises(
        ConfigError,
        match=r"instruction=output: expected .* layout reads, found others: prompt/completion reads completion,",
    ):
        check_columns(columns, [reader.seen], ["answer"])
    check_columns(columns, [reader.seen], ["answer", "instruction"])
    check_columns(columns, [reader.seen, Seen(("output",), ("alpaca",), (), ("instruction", "answer"))])


def _write_many(folder: Path, kind: str, num: int) -> Path:
    rows = [{"id": f"r{n}", "prompt": f"question {n} " + "x" * 600, "completion": "y" * 400} for n in range(num)]
    path = folder / f"many.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "saved":
        datasets.Dataset.from_list(rows).save_to_disk(path)
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "prompt", "completion"])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps({"data": rows} if kind == "wrapped.json" else rows, indent=None))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "json", "wrapped.json", "csv", "parquet", "saved"])
def test_memory_grows_by_the_index_of_ids_only(kind: str, tmp_path: Path) -> None:
    num = 20_000
    path = _write_many(tmp_path, kind, num)
    sources = find_sources([str(path)])
    arrow = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(arrow)
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_examples(sources))
        peak = tracemalloc.get_traced_memory()[1] + arrow.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert count == num
    assert sources[0].size > 1000 * num or kind == "parquet"  # whose pages are compressed
    assert peak < 250 * num + 6e6  # an id, its place and their part of a table; what is read at a time
