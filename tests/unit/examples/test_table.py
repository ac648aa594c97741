import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from g2is.config import ExamplesConfig
from g2is.errors import InputError, ModelError, StoreError
from g2is.examples import lines, make_table
from g2is.examples import table as table_module
from g2is.examples.keys import content_key
from g2is.examples.make_table import tokenize_files
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import Renderer

Make = Callable[..., Any]
ROWS = 64  # in a row group, here
STRICT = (
    "{% if messages[0].content == 'bad' %}{{ raise_exception('Bad turn') }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tokenize_file(path: Path, renderer: Renderer, cache: Path, progress: Any = None, **settings: Any) -> ExampleTable:
    return tokenize_files(find_sources([str(path)]), renderer, ExamplesConfig(**settings), cache, progress)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "GROUP_ROWS", ROWS)
    monkeypatch.setattr(make_table, "GROUP_ROWS", ROWS)


@pytest.fixture
def renderer(make_tokenizer: Make, renderer_for: Make) -> Renderer:
    made = renderer_for(make_tokenizer(STRICT, ("<|im_start|>", "<|im_end|>")), 60)
    assert isinstance(made, Renderer)
    return made


@pytest.fixture
def pool(write_rows: Make, turns: Make) -> Path:
    """150 rows: three row groups, of two turns and of four, some too long, two of them the same."""
    rows: list[Any] = [
        {"id": f"n{n}", "messages": turns(*(["q" * (n % 60), f"answer {n}"] * (1 + n % 2)))} for n in range(149)
    ]
    path = write_rows(*rows[:1], "", *rows[1:], {"id": "copy", "messages": rows[5]["messages"]})
    assert isinstance(path, Path)
    return path


@pytest.fixture
def made_before(pool: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pool's table; from then on nothing can be rendered."""
    tokenize_file(pool, renderer, tmp_path / "cache")

    def fail(*_: Any) -> None:
        raise AssertionError("rendered, though the table is there")

    monkeypatch.setattr(Renderer, "render_many", fail)


def test_a_subset_is_a_table_of_the_rows_asked_for(pool: Path, renderer: Renderer, tmp_path: Path) -> None:
    table = tokenize_file(pool, renderer, tmp_path / "cache")
    positions = np.array([149, 5, 70, 6])
    part = table.subset(positions)
    assert part.ids == [table.ids[position] for position in positions]
    assert part.sources == ["pool"] * 4
    assert part.groups == [None] * 4
    assert part.files == [str(pool)] * 4
    for name in ("rows", "lines", "keys", "num_tokens", "num_answer_tokens", "num_dropped", "num_answer_dropped"):
        np.testing.assert_array_equal(getattr(part, name), getattr(table, name)[positions])
    assert (len(part), part.num_duplicates, part.source_sha256) == (4, 1, table.source_sha256)
    assert part.num_truncated == (table.num_dropped[positions] > 0).sum()
    for there, here in ((1, 5), (0, 149), (3, 6)):
        assert part.take([there])[0].input_ids.tolist() == table.take([here])[0].input_ids.tolist()
    assert part.subset([2, 1]).take([0])[0].input_ids.tolist() == table.take([70])[0].input_ids.tolist()
    assert len(part.subset([])) == 0
    with pytest.raises(IndexError, match="from 0 to 3"):
        part.take([4])
    with pytest.raises(IndexError, match="from 0 to 3"):
        part.subset([-1])


def test_the_table_holds_what_rendering_each_row_gives(pool: Path, renderer: Renderer, tmp_path: Path) -> None:
    table = tokenize_file(pool, renderer, tmp_path / "cache")
    rendered = table.take(range(len(table)))
    assert len(table) == len(rendered) == 150
    for example, item in zip(read_examples(find_sources([str(pool)])), rendered, strict=True):
        expected = renderer.render(example)
        np.testing.assert_array_equal(item.input_ids, expected.input_ids)
        np.testing.assert_array_equal(item.label_mask, expected.label_mask)
        assert item.input_ids.dtype == np.int32
        row = example.row
        assert (item.num_dropped, item.num_answer_dropped) == (expected.num_dropped, expected.num_answer_dropped)
        assert (table.ids[row], table.lines[row]) == (example.id, example.line)
        assert table.keys[row].tobytes() == content_key(expected.input_ids, expected.label_mask)
        assert table.num_tokens[row] == len(expected.input_ids)
        assert table.num_answer_tokens[row] == expected.label_mask.sum()
        assert table.num_dropped[row] == expected.num_dropped
    assert table.keys.shape == (150, 16)
    assert table.keys.dtype == np.uint8
    assert table.num_tokens.dtype == table.num_answer_tokens.dtype == np.int32
    assert table.num_truncated == (table.num_dropped > 0).sum() > 0
    assert table.num_answers_cut == (table.num_answer_dropped > 0).sum() > 0


def test_rows_are_taken_in_the_order_asked_for_and_may_repeat(pool: Path, renderer: Renderer, tmp_path: Path) -> None:
    table = tokenize_file(pool, renderer, tmp_path / "cache")
    order = [149, 0, 64, 63, 5, 5, 128]
    single = [table.take([row])[0].input_ids.tolist() for row in order]
    assert [item.input_ids.tolist() for item in table.take(np.array(order))] == single
    assert single[0] == single[4]
    assert table.take([]) == []
    for outside in ([150], [-1]):
        with pytest.raises(IndexError, match="from 0 to 149"):
            table.take(outside)


def test_only_the_row_groups_asked_for_are_read_and_few_are_kept(
    pool: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tokenize_file(pool, renderer, tmp_path / "cache")
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def spy(file: Any, number: int, *arguments: Any) -> Any:
        read.append(number)
        return original(file, number, *arguments)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    monkeypatch.setattr(table_module, "_CACHED_GROUPS", 2)
    table.take([3, ROWS * 2, 4])
    assert read == [0, 2]
    table.take([5, ROWS * 2 + 1])
    assert read == [0, 2]
    table.take([ROWS])
    table.take([ROWS * 2])
    assert read == [0, 2, 1]
    table.take([0])
    assert read == [0, 2, 1, 0]


def test_duplicates_are_rows_of_the_same_content_as_an_earlier_one(
    write_rows: Make, turns: Make, renderer: Renderer, tmp_path: Path
) -> None:
    rows = [{"messages": turns("q", answer), "note": n} for n, answer in enumerate(["a", "b", "a", "a", "c"])]
    assert tokenize_file(write_rows(*rows), renderer, tmp_path / "cache").num_duplicates == 2


@pytest.mark.usefixtures("made_before")
def test_the_same_file_is_not_rendered_again(pool: Path, renderer: Renderer, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    table = tokenize_file(pool, renderer, tmp_path / "cache", lambda done, total: seen.append((done, total)))
    assert len(table.take([0, 140])) == 2
    assert seen == [(pool.stat().st_size, pool.stat().st_size)]


@pytest.mark.usefixtures("made_before")
def test_the_same_content_under_another_name_is_not_rendered_again(
    pool: Path, renderer: Renderer, tmp_path: Path
) -> None:
    moved = pool.rename(pool.with_name("moved.jsonl"))
    assert len(tokenize_file(moved, renderer, tmp_path / "cache")) == 150


@pytest.mark.usefixtures("made_before")
def test_a_changed_file_is_rendered_again(pool: Path, renderer: Renderer, tmp_path: Path) -> None:
    with pool.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(AssertionError, match="rendered"):
        tokenize_file(pool, renderer, tmp_path / "cache")


@pytest.mark.usefixtures("made_before")
def test_another_renderer_renders_again(pool: Path, make_tokenizer: Make, renderer_for: Make, tmp_path: Path) -> None:
    other = renderer_for(make_tokenizer(STRICT, ("<|im_start|>", "<|im_end|>")), 59)
    with pytest.raises(AssertionError, match="rendered"):
        tokenize_file(pool, other, tmp_path / "cache")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not parquet",
        lambda data: data[: len(data) // 2],
    ],
)
def test_a_damaged_table_is_made_again(
    damage: Callable[[bytes], bytes], pool: Path, renderer: Renderer, tmp_path: Path
) -> None:
    tokenize_file(pool, renderer, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*.parquet")
    whole = cached.read_bytes()
    cached.write_bytes(damage(whole))
    assert len(tokenize_file(pool, renderer, tmp_path / "cache")) == 150
    assert cached.read_bytes() == whole


def test_a_table_of_another_file_under_this_ones_name_is_made_again(
    pool: Path, write_rows: Make, turns: Make, renderer: Renderer, tmp_path: Path
) -> None:
    cached = tokenize_file(pool, renderer, tmp_path / "cache").path
    other = tokenize_file(write_rows({"messages": turns("q", "a")}, name="other.jsonl"), renderer, tmp_path / "cache")
    other.path.rename(cached)
    assert len(tokenize_file(pool, renderer, tmp_path / "cache")) == 150


def test_tokens_damaged_after_opening_are_not_returned(pool: Path, renderer: Renderer, tmp_path: Path) -> None:
    table = tokenize_file(pool, renderer, tmp_path / "cache")
    group = table._made._metadata.row_group(1)
    column = next(
        group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema.startswith("input_ids")
    )
    at = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size // 2
    data = bytearray(table.path.read_bytes())
    data[at] ^= 1
    table.path.write_bytes(data)
    assert len(table.take([0])) == 1
    with pytest.raises(StoreError, match="delete it and run again"):
        table.take([ROWS])


def test_all_rows_that_cannot_be_rendered_are_reported_together_and_nothing_is_left(
    write_rows: Make, turns: Make, renderer: Renderer, tmp_path: Path
) -> None:
    rows: list[Any] = [{"id": f"n{n}", "messages": turns("bad" if n % 5 == 3 else "q", "a")} for n in range(150)]
    path = write_rows("", *rows)
    with pytest.raises(ModelError, match=r"30 of \d+ rows cannot be used") as error:
        tokenize_file(path, renderer, tmp_path / "cache")
    assert f"{path}:5 (n3): expected turns that the model's chat template takes" in str(error.value)
    assert "… and 10 more" in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_rows_that_cannot_be_read_leave_nothing_either(
    write_rows: Make, turns: Make, renderer: Renderer, tmp_path: Path
) -> None:
    path = write_rows({"messages": turns("q", "a")}, "{")
    with pytest.raises(InputError, match=":2:"):
        tokenize_file(path, renderer, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_stop_before_the_rename_leaves_no_table_and_the_next_call_makes_it(
    pool: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tokenize_file(pool, renderer, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    killed = tokenize_file(pool, renderer, tmp_path / "cache").path
    partial = killed.rename(killed.with_name(f".{killed.name}.partial"))
    partial.write_bytes(b"what a killed process leaves behind")
    assert tokenize_file(pool, renderer, tmp_path / "cache").path == killed
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {killed.name, "digests.json"}


def test_progress_rises_to_the_size_of_the_file(
    pool: Path, renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_CHUNK_BYTES", 1000)
    seen: list[tuple[int, int]] = []
    tokenize_file(pool, renderer, tmp_path / "cache", lambda done, total: seen.append((done, total)))
    size = pool.stat().st_size
    assert [done for done, _ in seen] == [*range(1000, size, 1000), size]
    assert {total for _, total in seen} == {size}
