import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples import make_table
from g2is.examples import table as table_module
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.read import ExampleReader
from g2is.examples.sources import find_sources
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import Renderer

Make = Callable[..., Any]
ROWS = 16  # in a row group, here
QA = {"question": "q", "answer": "a"}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "GROUP_ROWS", ROWS)
    monkeypatch.setattr(make_table, "GROUP_ROWS", ROWS)


@pytest.fixture
def renderer(make_tokenizer: Make, renderer_for: Make) -> Any:
    return renderer_for(make_tokenizer(None, eos="</s>"), 60, truncation="answer-end")


def tokenize(renderer: Renderer, cache: Path, *paths: Path, **settings: Any) -> ExampleTable:
    return tokenize_files(find_sources(list(map(str, paths))), renderer, ExamplesConfig(**settings), cache)


@pytest.fixture
def mixed(write_rows: Make, tmp_path: Path) -> tuple[Path, Path]:
    """Two files of 55 records, of which 4 cannot be read and 5 are too long for their answers to be reached."""
    rows: list[Any] = [{**QA, "id": f"n{n}", "question": "q" * (90 if n % 8 == 7 else 3)} for n in range(40)]
    rows[3:3] = ["{", b"\xff{}"]
    rows.append({**QA, "id": "n5"})
    table = tmp_path / "more.csv"
    table.write_text("prompt,completion,source,group\n" + "p,c,web,1\n" * 11 + "p,\n")
    first = write_rows(*rows)
    assert isinstance(first, Path)
    return first, table


def test_bad_rows_are_set_aside_and_listed_and_the_rest_keeps_its_numbers(
    mixed: tuple[Path, Path], renderer: Renderer, tmp_path: Path
) -> None:
    table = tokenize(renderer, tmp_path / "cache", *mixed, on_bad_row="skip")
    bad = list(table.bad_rows())
    assert table.num_bad_rows == len(bad) == 9
    assert len(table) == 55 - 9
    found = {(row["file"], row["line"]): row for row in bad}
    lost = [line for line in range(1, 44) if (str(mixed[0]), line) in found]
    assert lost == [4, 5, 10, 18, 26, 34, 42, 43]
    assert found[str(mixed[0]), 4] == {
        **{"file": str(mixed[0]), "line": 4, "id": None, "raw": "{"},
        "problem": "expected a JSON object, found bad JSON: Expecting property name enclosed in double quotes"
        " at column 2",
    }
    assert found[str(mixed[0]), 5]["raw"] is None
    assert "found byte 0xff" in found[str(mixed[0]), 5]["problem"]
    assert (found[str(mixed[0]), 10]["id"], json.loads(found[str(mixed[0]), 10]["raw"])["id"]) == ("n7", "n7")
    assert "expected learned tokens among the 60" in found[str(mixed[0]), 10]["problem"]
    assert found[str(mixed[0]), 43]["problem"] == "expected an id that no other row has, found that of line 8"
    assert found[str(mixed[1]), 13]["problem"] == "expected 4 fields as in the header, found 2"
    expected = [row for row in range(54) if not (row < 43 and row + 1 in lost)]
    np.testing.assert_array_equal(table.rows, expected)
    assert table.rows.dtype == np.int64
    assert table.ids[:4] == ["n0", "n1", "n2", "n3"]
    assert table.ids[-1] == "row-53"
    assert table.sources == ["pool"] * 35 + ["web"] * 11
    assert table.groups == [None] * 35 + ["1"] * 11
    assert table.files == [str(mixed[0])] * 35 + [str(mixed[1])] * 11
    assert table.lines[-1] == 12
    again = [item.input_ids.tolist() for item in table.take(range(len(table)))]
    assert again == [table.take([position])[0].input_ids.tolist() for position in range(len(table))]
    assert any("9 rows cannot be used" in text for text in describe_losses("pool", table, "answer-end"))


def test_a_second_sitting_reports_the_same_bad_rows(
    mixed: tuple[Path, Path], renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(tokenize(renderer, tmp_path / "cache", *mixed, on_bad_row="skip").bad_rows())
    render = Renderer.render_many
    monkeypatch.setattr(Renderer, "render_many", lambda *_: pytest.fail("rendered, though the table is there"))
    assert list(tokenize(renderer, tmp_path / "cache", *mixed, on_bad_row="skip").bad_rows()) == first
    monkeypatch.setattr(Renderer, "render_many", render)
    (listed,) = (tmp_path / "cache").glob("*.bad_rows.jsonl")
    for damage in (lambda: listed.unlink(), lambda: listed.write_text("{}\n"), lambda: listed.write_text("x")):
        damage()
        assert list(tokenize(renderer, tmp_path / "cache", *mixed, on_bad_row="skip").bad_rows()) == first


def test_all_problems_of_reading_and_rendering_stop_together_by_default(
    mixed: tuple[Path, Path], renderer: Renderer, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"and 1 more: 9 of \d+ rows cannot be used") as error:
        tokenize(renderer, tmp_path / "cache", *mixed)
    for place in (f"{mixed[0]}:4:", f"{mixed[0]}:10 (n7):", f"{mixed[1]}:13:", "examples.on_bad_row=skip"):
        assert place in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_no_row_is_left_nothing_is_kept(write_rows: Make, renderer: Renderer, tmp_path: Path) -> None:
    path = write_rows("{", {"a": 1}, {"question": "q", "answer": ""})
    with pytest.raises(InputError, match=r"3 of 3 rows cannot be used(.|\n)*No row is left"):
        tokenize(renderer, tmp_path / "cache", path, on_bad_row="skip")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_column_mapped_from_nowhere_is_named_beside_the_rows_it_spoils(
    write_rows: Make, renderer: Renderer, tmp_path: Path
) -> None:
    path = write_rows({"question": "q", "Solution": "a"})
    with pytest.raises(InputError, match=r"No row has the columns that examples\.columns maps: answer=Soluton"):
        tokenize(renderer, tmp_path / "cache", path, columns={"answer": "Soluton"})
    table = tokenize(renderer, tmp_path / "cache", path, columns={"answer": "Solution"})
    assert table.seen.columns == ("question", "Solution")


def test_how_rows_are_read_is_part_of_what_a_table_is(write_rows: Make, renderer: Renderer, tmp_path: Path) -> None:
    path = write_rows({**QA, "prompt": "p", "completion": "c", "task": "t"})
    settings: list[dict[str, Any]] = [{}, {"layout": "question/answer"}, {"columns": {"source": "task"}}]
    tables = [tokenize(renderer, tmp_path / "cache", path, **each) for each in (*settings, {"on_bad_row": "skip"})]
    assert len({table.path for table in tables}) == 4
    assert len({table.keys.tobytes() for table in tables}) == 2
    assert [table.sources for table in tables] == [["pool"], ["pool"], ["t"], ["pool"]]


def test_sources_follow_the_file_s_name_though_the_table_is_kept(
    write_rows: Make, renderer: Renderer, tmp_path: Path
) -> None:
    path = write_rows(QA, {**QA, "source": "own"})
    made = tokenize(renderer, tmp_path / "cache", path)
    moved = tokenize(renderer, tmp_path / "cache", path.rename(path.with_name("moved.jsonl")))
    assert moved.path == made.path
    assert (made.sources, moved.sources) == (["pool", "own"], ["moved", "own"])
    assert moved.files == [str(path.with_name("moved.jsonl"))] * 2


def test_cut_answers_are_told(write_rows: Make, renderer: Renderer, tmp_path: Path) -> None:
    table = tokenize(renderer, tmp_path / "cache", write_rows(QA, {"question": "q", "answer": "a" * 90}))
    (text,) = describe_losses("pool", table, "answer-end")
    assert text.startswith("pool: 1 of 2 examples are longer")
    assert text.endswith("1 of them lose part of an answer")


def test_a_file_that_is_replaced_while_it_is_read_is_refused_and_not_kept(
    write_rows: Make, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(*[{**QA, "id": f"n{n}"} for n in range(5)])
    before = path.read_bytes()

    def replaced(*arguments: Any) -> ExampleReader:
        path.write_bytes(before.replace(b'"q"', b'"p"'))
        return ExampleReader(*arguments)

    monkeypatch.setattr("g2is.examples.make_table.ExampleReader", replaced)
    with pytest.raises(InputError, match="found it changed meanwhile"):
        tokenize(renderer, tmp_path / "cache", path)
    assert not list((tmp_path / "cache").glob("*.parquet"))
