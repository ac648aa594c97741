"""What rows say of right answers beside the one that is learned."""

import json
from pathlib import Path
from typing import Any

import pytest

from g2is.config import ExamplesConfig
from g2is.examples.conversation import Conversation, Turn
from g2is.examples.problems import BadRow
from g2is.examples.references import RightAnswer, read_references, right_answer
from g2is.examples.sources import find_sources


def read(path: Path, **settings: Any) -> dict[int, Any]:
    """By row what counts as right beside its own answer, or what is wrong."""
    return {
        row: said if isinstance(said, BadRow) else (said.others, said.short)
        for row, said in read_references(find_sources([str(path)]), ExamplesConfig(**settings))
    }


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"prompt": "q", "completion": "a"} | row) + "\n" for row in rows))
    return path


def test_references_and_the_short_answer_are_read_where_a_row_has_them(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"references": ["b", "c"]},
        {"answer": "42"},
        {"answer": 4.5},
        {"references": None, "answer": ""},
    ]
    found = read(write(tmp_path / "t.jsonl", *rows))
    assert found == {0: ((), None), 1: (("b", "c"), None), 2: ((), "42"), 3: ((), "4.5"), 4: ((), None)}


def test_a_mapped_column_is_the_short_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"answer": "left alone", "Short": "7"})
    assert read(path, columns={"answer": "Short"}) == {0: ((), "7")}


def test_csv_has_references_as_json_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('prompt,completion,references,answer\nq,a,"[""b"", ""c""]",7\nq,a,,\nq,a,b,\n')
    found = read(path)
    assert found[0] == (("b", "c"), "7")
    assert found[1] == ((), None)
    assert isinstance(found[2], BadRow)
    assert "expected a list of strings as JSON in `references`, found other text" in str(found[2].problem)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"references": "b"}, "expected a list of strings in `references`, found a string"),
        ({"references": [1]}, "expected a list of strings in `references`, found a list of others"),
        ({"references": {"a": "b"}}, "found an object"),
        ({"answer": ["42"]}, "expected a string or a number in `answer`, found a list"),
        ({"answer": True}, "found a boolean"),
    ],
)
def test_others_are_bad_rows_with_their_place(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    found = read(write(tmp_path / "t.jsonl", {}, {"id": "x", **row}))
    assert found[0] == ((), None)
    assert isinstance(found[1], BadRow)
    assert (found[1].line, found[1].id) == (2, "x")
    assert problem in str(found[1].problem)


def test_rows_that_cannot_be_read_are_passed_over_if_they_are_to_be_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"answer": "1"}, {"prompt": 3}, {"answer": "2"})
    assert read(path, on_bad_row="skip") == {0: ((), "1"), 2: ((), "2")}


def test_the_right_answer_is_the_last_learned_turn_as_it_is_written_there() -> None:
    turns = (
        Turn("user", "How many cats?"),
        Turn("assistant", "2", context_only=True),
        Turn("user", "And dogs?"),
        Turn("assistant", "<s>There are</s> 3.\n", prefill="<s>There", reasoning="One and two."),
        Turn("user", "Thanks."),
        Turn("assistant", "You are welcome.", context_only=True),
    )
    assert right_answer(Conversation(turns)) == RightAnswer(" are</s> 3.\n", "One and two.", "And dogs?", 1)
    assert right_answer(Conversation((Turn("assistant", "Hello."),)), ("Hi.",), "4") == RightAnswer(
        "Hello.", "", "", 1, ("Hi.",), "4"
    )


def test_of_a_call_it_is_known_that_text_does_not_say_it() -> None:
    call = {"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}]}
    assert right_answer(Conversation((Turn("user", "Call."), Turn("assistant", "", extra=call)))).calls
    assert not right_answer(Conversation((Turn("assistant", "", extra=call), Turn("assistant", "Done.")))).calls
