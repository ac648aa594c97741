from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from talk import talk

from g2is.examples.overlap import NUM_WORDS, Overlap, OverlapIndex, folded_words
from g2is.examples.read import Example, read_examples
from g2is.examples.sources import Source, find_sources

TEST = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
ANSWER = "She sold 24 clips in May and 72 clips altogether in those two months."


def example(*turns: tuple[str, str], name: str = "test-1", line: int = 1) -> Example:
    origin = Source("test.jsonl", "test", "JSON lines", (Path("test.jsonl"),))
    return Example(line - 1, origin, line, name, talk(*turns), b"")


def index(*texts: str, **options: Any) -> OverlapIndex:
    return OverlapIndex(
        [example(("user", text), name=f"test-{line}", line=line) for line, text in enumerate(texts, start=1)], **options
    )


def found(index: OverlapIndex, *texts: str) -> Overlap | None:
    return index.find(talk(*zip(("user", "assistant") * 9, texts, strict=False)).turns)


def decoded(text: str) -> list[str]:
    return folded_words(text).decode().split()


def test_thirteen_shared_words_overlap_and_twelve_do_not() -> None:
    words = decoded(TEST)
    for start in range(len(words) - NUM_WORDS + 1):
        run = words[start : start + NUM_WORDS]
        overlap = found(index(TEST), "Here is one: " + " ".join(run) + " or so")
        assert overlap == Overlap(1, "test-1", tuple(run))
        assert found(index(TEST), "Here is one: " + " ".join(run[:-1]) + " or so") is None
        assert found(index(TEST), "Here is one: " + " ".join(run[1:]) + " or so") is None


def test_the_whole_shared_run_is_told() -> None:
    overlap = found(index("another text of more than thirteen words that has nothing to do with it at all", TEST), TEST)
    assert overlap == Overlap(2, "test-2", tuple(decoded(TEST)))


@pytest.mark.parametrize(
    "changed",
    [
        TEST.upper(),
        TEST.replace(" ", "\n\t  "),
        TEST.replace(",", " --").replace(".", "!?"),
        "“" + TEST.replace(" ", " * ") + "”",
        "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in TEST),  # full-width
        f"{TEST[:40].upper()}{TEST[40:]}".replace("in", "i\ufe0fn"),  # a variation selector is only looks
    ],
    ids=["case", "white space", "punctuation", "quotes and stars", "full width", "variation selectors"],
)
def test_what_says_nothing_changes_nothing(changed: str) -> None:
    assert changed != TEST
    assert found(index(TEST), changed) is not None
    assert found(index(changed), TEST) is not None


def test_letters_of_any_script_are_words_with_their_marks() -> None:
    assert decoded("STRASSE Straße E\u0301te\u0301 été ÉTÉ") == ["strasse", "strasse", "été", "été", "été"]
    assert decoded("हिन्दी में, नमस्ते") == ["हिन्दी", "में", "नमस्ते"]
    assert decoded("x_1 a-b don't 3.14 ½ Ａ１") == ["x", "1", "a", "b", "don", "t", "3", "14", "1", "2", "a1"]
    assert decoded("東京タワー、ｶﾞ 한국어 문장") == ["東", "京", "タ", "ワ", "ー", "ガ", "한국어", "문장"]
    assert decoded("…!? — 🙂") == []


def test_ascii_and_other_text_are_cut_alike() -> None:
    every = "".join(map(chr, range(128)))
    assert decoded(f"{every} ") == decoded(f"{every} é")[:-1]


def test_chinese_and_japanese_count_by_characters() -> None:
    text = "小明有三个苹果他又买了五个苹果现在他一共有几个苹果"
    assert found(index(text), f"问题：{text[2:15]}？") is not None
    assert found(index(text), f"问题：{text[2:14]}？") is None


def test_runs_go_on_from_turn_to_turn() -> None:
    test = OverlapIndex([example(("user", TEST), ("assistant", ANSWER))])
    words = decoded(TEST)[-6:] + decoded(ANSWER)[:7]
    overlap = found(test, " ".join(words[:3]), " ".join(words[3:]))
    assert overlap is not None
    assert overlap.words == tuple(words)
    assert found(OverlapIndex([example(("user", TEST)), example(("user", ANSWER))]), " ".join(words)) is None


def test_a_system_prompt_that_all_rows_share_is_no_overlap() -> None:
    system = (
        "system",
        "You are a helpful assistant who always answers truthfully, briefly and in the user's own words",
    )
    test = OverlapIndex([example(system, ("user", TEST))])
    assert test.find(talk(system, ("user", "What is 2 + 2?"), ("assistant", "4")).turns) is None
    assert test.find(talk(("user", system[1])).turns) is None
    assert test.find(talk(system, ("user", TEST)).turns) is not None


def test_a_short_test_example_is_found_as_a_whole_row_or_turn_and_not_inside_one() -> None:
    test = index("What is the capital of France?", "…")
    assert found(test, "what is the capital of France") == Overlap(
        1, "test-1", ("what", "is", "the", "capital", "of", "france")
    )
    assert found(test, "What is the capital of France?", "Paris.") is not None
    assert found(test, "Hello", "Hi!", "What is the capital of France?", "Paris.") is not None
    assert found(test, "What is the capital", "of France?") is not None  # all its words are the example's
    assert found(test, "Tell me: what is the capital of France?", "Paris.") is None
    assert found(test, "…", "!!") is None  # no words, no overlap
    whole = OverlapIndex([example(("user", "Capital of France?"), ("assistant", "Paris."))])
    assert found(whole, "Capital of France?", "Paris") is not None
    assert found(whole, "Capital of France?", "Lyon") is None


def test_of_several_examples_the_first_is_named() -> None:
    overlap = found(index("one two three", f"{ANSWER} {TEST}", TEST), TEST)
    assert overlap is not None
    assert (overlap.line, overlap.id) == (2, "test-2")


def test_an_index_of_nothing_finds_nothing() -> None:
    assert found(OverlapIndex([]), TEST) is None
    assert found(index("short"), TEST) is None
    assert found(index(TEST), "") is None


def test_num_words_is_what_it_is_set_to() -> None:
    assert found(index(TEST, num_words=3), "their clips to 48 friends") is not None
    assert found(index(TEST, num_words=4), "their clips to 48 friends") is None
    assert found(index(TEST, num_words=1), "april") is not None
    with pytest.raises(ValueError, match="found 0"):
        index(TEST, num_words=0)


def test_a_hash_collision_neither_reports_nor_hides_an_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("g2is.examples.overlap._BYTE_HASHES", np.zeros(256, np.uint64))  # every run collides
    shuffled = " ".join(sorted(decoded(TEST)))
    assert found(index(shuffled), TEST) is None
    overlap = found(index(shuffled, TEST), TEST)
    assert overlap is not None
    assert overlap.id == "test-2"
    assert found(index("a b cats", num_words=3), "a b cat") is None  # the bytes are there, the words are not
    assert found(index("x a b", "c d e", num_words=3), "a b c") is None
    assert found(index("x a b", "c d e", num_words=3), "a bc d") is None


def test_the_same_rows_are_found_as_by_a_plain_search_through_all_runs() -> None:
    rng = np.random.default_rng(0)

    def draw(num_words: int) -> list[str]:
        return [f"w{number}" for number in rng.integers(0, 6, num_words)]

    tests = [draw(int(rng.integers(1, 40))) for _ in range(30)]
    test = index(*map(" ".join, tests), num_words=5)
    runs = {tuple(words[i : i + 5]) for words in tests for i in range(len(words) - 4)}
    short = {tuple(words) for words in tests if len(words) < 5}
    hits = 0
    for _ in range(400):
        turns = [draw(int(rng.integers(0, 9))) for _ in range(2)]
        row = turns[0] + turns[1]
        expected = any(tuple(row[i : i + 5]) in runs for i in range(len(row) - 4))
        expected |= any(tuple(words) in short for words in (row, *turns))
        assert (found(test, *map(" ".join, turns)) is not None) == expected, row
        hits += expected
    assert 50 < hits < 350


def test_real_rows_are_found_as_by_a_plain_search(shared: Path) -> None:
    rows = list(islice(read_examples(find_sources([str(shared / "data/pool.jsonl.gz")])), 600))
    held_out = OverlapIndex(rows[::60])

    def runs(row: Example) -> set[tuple[str, ...]]:
        words = [word for turn in row.conversation.turns if turn.role != "system" for word in decoded(turn.content)]
        return {tuple(words[i : i + NUM_WORDS]) for i in range(len(words) - NUM_WORDS + 1)}

    known = set().union(*map(runs, rows[::60]))
    expected = [row.id for row in rows if runs(row) & known]
    assert [row.id for row in rows if held_out.find(row.conversation.turns)] == expected
    assert 10 <= len(expected) < 100
