"""What of a text is shown, and how numbers are packed."""

import base64
import struct

import numpy as np
import pytest

from g2is.report import shown
from g2is.report.comparison import alone
from g2is.report.figures import lengths, shares
from g2is.report.packing import packed, packed_cosines, packed_places, plain
from g2is.report.shown import beginning, whole, whole_texts


def numbers(part: dict[str, str]) -> list[int]:
    raw = base64.b64decode(part["base64"])
    return list(struct.unpack(f"<{len(raw) // 2}{'H' if part['type'] == 'u2' else 'h'}", raw))


def test_the_beginning_is_what_the_user_asks_on_one_line() -> None:
    assert beginning([("system", "be kind"), ("user", "  what\n is\tit? ")]) == "what is it?"
    assert beginning([("user", "  "), ("assistant", "this")]) == "this"
    assert beginning([]) == ""
    long = beginning([("user", "word " * 100)])
    assert len(long) <= 80
    assert long.endswith("…")


def test_a_turn_that_is_too_long_says_how_much_is_not_shown() -> None:
    ((role, text),) = whole([("user", "a" * 4_007), ("assistant", " ")])
    assert role == "user"
    assert text.endswith("(7 more characters are not shown)")


def test_texts_are_whole_in_the_order_given_until_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [[("user", "x" * 10)] for _ in range(5)]
    assert list(whole_texts(turns, [3, -1, 1, 3])) == [3, 1]
    monkeypatch.setattr(shown, "_MOST_IN_ALL", 25)
    assert list(whole_texts(turns, [3, 0, 1, 2])) == [3, 0]
    of_three_bytes = [[("user", "指" * 10)] for _ in range(5)]  # the page is UTF-8
    assert not whole_texts(of_three_bytes, [3, 0])


def test_numbers_are_little_endian_and_stay_within_their_type() -> None:
    assert numbers(packed(np.array([1, -5, 70_000]), "u2")) == [1, 0, 65_535]
    assert numbers(packed_cosines(np.array([1, -0.5, np.nan, 0]))) == [10_000, -5_000, -32_768, 0]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_places_fill_the_longer_side_and_keep_their_ratio(scale: float) -> None:
    xy = scale * np.array([[0, 0], [4, 1], [2, 0.5]])
    found = np.array(numbers(packed_places(xy))).reshape(-1, 2)
    assert found[:, 0].tolist() == [0, 65_535, 32_768]
    assert np.ptp(found[:, 1]) == pytest.approx(65_535 / 4, abs=2)
    assert numbers(packed_places(np.ones((3, 2))))[0] == pytest.approx(32_768, abs=1)  # all at one place


def test_what_json_has_not_is_null_or_text() -> None:
    value = {"a": np.float32("nan"), 1: np.int64(3), "b": (np.bool_(True), float("inf")), "c": np.array([1.5])}
    assert plain(value) == {"a": None, "1": 3, "b": [True, None], "c": [1.5]}


def test_histograms_of_lengths_count_every_row_once() -> None:
    pool = np.array([1, 1, 2, 3, 50, 900, 1000])
    found = lengths(pool, pool[:3])
    assert sum(found["pool"]) == 7
    assert sum(found["chosen"]) == 3
    assert sum(lengths(np.zeros(4, int) + 1, np.array([], int))["pool"]) == 4


def test_shares_name_the_twenty_most_and_put_the_rest_together() -> None:
    pool = [f"s{i}" for i in range(30) for _ in range(2)]
    found = shares(pool, ["s7", "s7", "s29"])
    assert [of["name"] for of in found[:2]] == ["s7", "s29"]
    assert found[-1]["name"] == "10 others"
    assert sum(of["pool"] for of in found) == 60
    assert shares(["one"] * 5, ["one"]) == []


def test_rows_that_one_method_alone_took() -> None:
    taken = {"a": np.array([1, 2, 3]), "b": np.array([3, 4]), "c": np.array([4])}
    assert {name: rows.tolist() for name, rows in alone(taken).items()} == {"a": [1, 2], "b": [], "c": []}
    assert alone({"a": np.array([2, 1])})["a"].tolist() == [1, 2]
