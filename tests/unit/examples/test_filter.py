"""Which rows of a pool stay, and which are included."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.filter import Filtered, filter_pool, read_lists, write_excluded
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.table import ExampleTable

Read = Callable[..., ExampleTable]


def filtered(
    pool: ExampleTable, include: Sequence[Path] = (), exclude: Sequence[Path] = (), dropped: Any = None
) -> Filtered:
    return filter_pool(pool, read_lists(include), read_lists(exclude), dropped)


@pytest.fixture
def pool(read_table: Read) -> ExampleTable:
    return read_table(*((f"question {number}", f"answer {number}") for number in range(6)))  # ids a to f


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str | bytes, name: str = "list.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_without_lists_the_pool_is_the_very_one_that_was_read(pool: ExampleTable) -> None:
    found = filtered(pool)
    assert found.pool is pool
    assert len(found.included) == 0
    assert not found.reasons


def test_excluded_rows_leave_and_the_others_keep_their_numbers_and_tokens(
    pool: ExampleTable, listed: Callable[..., Path]
) -> None:
    path = listed("d\n\n  \nb\r\nd\n")
    found = filtered(pool, exclude=[path])
    assert found.pool.ids == ["a", "c", "e", "f"]
    assert found.pool.rows.tolist() == [0, 2, 4, 5]
    assert found.read is pool
    assert found.reasons == {1: f"listed in {path}:4", 3: f"listed in {path}:1"}
    for here, there in zip(found.pool.take([0, 1, 2, 3]), pool.take([0, 2, 4, 5]), strict=True):
        assert here.input_ids.tolist() == there.input_ids.tolist()


def test_included_rows_are_positions_among_those_that_stay_in_the_lists_order(
    pool: ExampleTable, listed: Callable[..., Path]
) -> None:
    found = filtered(pool, [listed("f\nc\n", "1.txt"), listed("\ufeffe\nc\n", "2.txt")], [listed("a\nd\n", "x.txt")])
    assert [found.pool.ids[position] for position in found.included] == ["f", "c", "e"]
    assert found.included.tolist() == [3, 1, 2]


def test_rows_that_another_screen_drops_leave_with_its_reason(
    pool: ExampleTable, listed: Callable[..., Path], tmp_path: Path
) -> None:
    found = filtered(pool, exclude=[listed("a\n")], dropped={4: "overlaps with the test", 0: "overlaps too"})
    assert found.pool.ids == ["b", "c", "d", "f"]
    write_excluded(found, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "excluded.jsonl").read_text().splitlines()]
    assert rows == [
        {"row": 0, "id": "a", "reason": f"listed in {tmp_path / 'list.txt'}:1"},
        {"row": 4, "id": "e", "reason": "overlaps with the test"},
    ]
    write_excluded(filtered(pool), tmp_path)
    assert not (tmp_path / "excluded.jsonl").exists()


def test_a_row_to_include_that_another_screen_drops_is_refused(pool: ExampleTable, listed: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"do not overlap with the test set, found e \(.*list.txt:2\)"):
        filtered(pool, include=[listed("a\ne\n")], dropped={4: "overlaps"})


def test_unknown_ids_are_listed_with_their_places_the_first_twenty_and_the_count(
    pool: ExampleTable, listed: Callable[..., Path]
) -> None:
    path = listed("a\n" + "".join(f"x{number}\n" for number in range(25)))
    with pytest.raises(InputError) as error:
        filtered(pool, exclude=[path])
    message = str(error.value)
    assert "found 25 that no row has (the pool's first is a)" in message
    assert f"{path}:2: x0\n" in message
    assert f"{path}:21: x19\n" in message
    assert "x20" not in message


def test_an_id_to_include_and_to_exclude_is_refused_with_both_places(
    pool: ExampleTable, listed: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match=r"both lists: b \(.*in.txt:1, .*out.txt:2\)"):
        filtered(pool, [listed("b\n", "in.txt")], [listed("a\nb\n", "out.txt")])


def test_a_pool_of_which_nothing_stays_is_refused(pool: ExampleTable, listed: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="found all 6 left out"):
        filtered(pool, exclude=[listed("a\nb\nc\nd\ne\nf\n")])


def test_a_list_that_cannot_be_read_is_named(pool: ExampleTable, listed: Callable[..., Path], tmp_path: Path) -> None:
    for path, problem in (
        (tmp_path / "none.txt", "none.txt: expected a list of ids, one a line, found no such file"),
        (tmp_path, "found a folder"),
        (listed("\n \n"), "list.txt: expected a list of ids, one a line, found none"),
        (listed(b"a\n\xff\n", "latin.txt"), "latin.txt: expected a list of ids in UTF-8, found byte 0xff at byte 3"),
    ):
        for flag in ("include", "exclude"):
            files: dict[str, Any] = {flag: [path]}
            with pytest.raises(InputError, match=problem):
                filtered(pool, **files)


def test_listed_rows_that_cannot_be_used_are_left_out_already_and_never_included(
    write_rows: Callable[..., Path], make_tokenizer: Any, renderer_for: Any, listed: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_rows(
        {"id": "a", "prompt": "q", "completion": "x"},
        {"id": "bad", "prompt": "q", "completion": ""},
        {"id": "c", "prompt": "r", "completion": "y"},
    )
    config = ExamplesConfig(on_bad_row="skip")
    pool = tokenize_files(
        find_sources([str(path)]), renderer_for(make_tokenizer(eos="</s>")), config, tmp_path / "cache"
    )
    assert filtered(pool, exclude=[listed("bad\nc\n")]).pool.ids == ["a"]
    with pytest.raises(InputError, match=r"found bad \(.*list.txt:1\): .*empty"):
        filtered(pool, include=[listed("bad\n")])
