from typing import Any

import pytest
from talk import pairs

from g2is.config import STANDARD_COLUMNS
from g2is.errors import InputError
from g2is.examples.schemas import LIST_COLUMNS, SCHEMAS, conversation_of, schema_of

ANSWER = {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("row", "schema", "messages"),
    [
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": ""}, ANSWER], "task": 1},
            "messages",
            (("system", "s"), ("user", ""), ("assistant", "a")),
        ),
        ({"instruction": "q", "output": "a"}, "alpaca", (("user", "q"), ("assistant", "a"))),
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca", (("user", "q"), ("assistant", "a"))),
        ({"instruction": "q", "input": None, "output": "a"}, "alpaca", (("user", "q"), ("assistant", "a"))),
        ({"instruction": "q", "input": "i", "output": "a"}, "alpaca", (("user", "q\n\ni"), ("assistant", "a"))),
        ({"prompt": "q", "completion": " a\n"}, "prompt/completion", (("user", "q"), ("assistant", " a\n"))),
        (
            {"prompt": [{"role": "user", "content": "q"}], "completion": [ANSWER]},
            "prompt/completion",
            (("user", "q"), ("assistant", "a")),
        ),
        ({"prompt": "p", "completion": "c", "messages": [ANSWER]}, "messages", (("assistant", "a"),)),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
            "sharegpt",
            (("system", "s"), ("user", "q"), ("assistant", "a")),
        ),
        (
            {"conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}], "system": None},
            "sharegpt",
            (("user", "q"), ("assistant", "a")),
        ),
        (
            {"conversations": [{"role": "user", "content": "q", "from": None, "value": None}, ANSWER], "system": ""},
            "sharegpt",
            (("user", "q"), ("assistant", "a")),
        ),
        (
            {
                "messages": [
                    {"from": "system", "value": "s", "role": None, "content": None},
                    {"from": "gpt", "value": "a"},
                ]
            },
            "messages",
            (("system", "s"), ("assistant", "a")),
        ),
        (
            {"instruction": "q", "input": "", "output": "a", "system": "s", "history": [["q1", "a1"], ["q2", "a2"]]},
            "alpaca",
            (
                *(("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")),
                *(("user", "q"), ("assistant", "a")),
            ),
        ),
        (
            {"instruction": "q", "output": "a", "system": None, "history": []},
            "alpaca",
            (("user", "q"), ("assistant", "a")),
        ),
        ({"instruction": "q", "output": "a", "history": None}, "alpaca", (("user", "q"), ("assistant", "a"))),
        ({"inputs": "q", "targets": "a"}, "inputs/targets", (("user", "q"), ("assistant", "a"))),
        ({"question": "q", "answer": "a"}, "question/answer", (("user", "q"), ("assistant", "a"))),
        (
            {"messages": [{**ANSWER, "tool_calls": None, "reasoning": "", "name": "n"}]},
            "messages",
            (("assistant", "a"),),
        ),
    ],
)
def test_every_known_layout_becomes_turns(row: dict[str, Any], schema: str, messages: tuple[Any, ...]) -> None:
    assert schema_of(row) == schema
    assert pairs(conversation_of(row, schema)) == messages


@pytest.mark.parametrize("row", [{}, {"text": "t"}, {"instruction": "q"}, {"prompt": "q"}, {"conversation": []}])
def test_a_row_of_no_known_layout_has_no_schema(row: dict[str, Any]) -> None:
    assert schema_of(row) is None


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": None}, "expected a list of .* in `messages`, found null"),
        ({"messages": []}, "found an empty list"),
        ({"messages": "hello"}, "found a string"),
        ({"messages": ["hello"]}, r"`messages\[0\]`, found a string"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "expected `role` to be one of .*found 'critic'"),
        ({"messages": [{"speaker": "gpt", "value": "x"}]}, "expected `role` .*found keys speaker, value"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "expected `role`"),
        ({"messages": [{"role": "user"}, ANSWER]}, r"expected `content` in `messages\[0\]`, found keys role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}, ANSWER]}, r"content\[0\].text`, found null"),
        ({"messages": [{"role": "user", "content": None}, ANSWER]}, "found null"),
        ({"messages": [{**ANSWER, "tool_calls": [{}]}]}, r"a call .* in `messages\[0\].tool_calls\[0\]`"),
        ({"messages": [{**ANSWER, "weight": 0}]}, "expected an assistant turn that is learned, found only such"),
        ({"messages": [{"role": "user", "content": "q"}]}, "expected an assistant turn, found only user"),
        ({"messages": [ANSWER, {"role": "assistant", "content": " \n"}]}, "an answer in turn 2 .*found an empty one"),
        ({"messages": [{"role": "user", "content": "\ud800"}, ANSWER]}, "turn 1 .user., found a lone surrogate"),
        ({"instruction": "q", "output": 3}, "expected a string in `output`, found a number"),
        ({"instruction": "q", "input": True, "output": "a"}, "expected a string in `input`, found a boolean"),
        ({"instruction": "q", "output": ""}, "found an empty one"),
        ({"prompt": "q", "completion": 3}, "expected a string in `completion`, found a number"),
        ({"prompt": [ANSWER], "completion": None}, "expected a list of .* in `completion`, found null"),
        (
            {"conversations": [{"from": "critic", "value": "x"}]},
            "expected `from` to be one of system, .*human, .*found 'critic'",
        ),
        ({"conversations": [{"from": "gpt"}]}, r"expected `value` in `conversations\[0\]`, found keys from"),
        ({"conversations": [{"from": "gpt", "value": None}]}, r"`conversations\[0\].value`, found null"),
        ({"conversations": [{"from": "system", "value": "s"}], "system": "t"}, "expected one system text"),
        (
            {"conversations": [{"from": "gpt", "value": "a"}], "system": 3},
            "expected a string in `system`, found a number",
        ),
        ({"instruction": "q", "output": "a", "history": "h"}, "expected a list of .question, answer. in `history`"),
        ({"instruction": "q", "output": "a", "history": [["x"]]}, r"in `history\[0\]`, found a list of 1"),
        ({"instruction": "q", "output": "a", "history": [["x", None]]}, r"string in `history\[0\]\[1\]`, found null"),
        ({"instruction": "q", "output": "a", "history": [["x", ""]]}, "an answer in turn 2 .*found an empty one"),
        ({"question": None, "answer": "a"}, "expected a string in `question`, found null"),
        ({"inputs": "q", "targets": b"a"}, "expected a string in `targets`, found a bytes"),
    ],
)
def test_a_row_that_cannot_be_used_says_what_was_expected_and_found(row: dict[str, Any], expected: str) -> None:
    schema = schema_of(row)
    assert schema is not None
    with pytest.raises(InputError, match=expected):
        conversation_of(row, schema)


def test_of_several_layouts_the_first_is_read_or_the_one_asked_for() -> None:
    row = {"question": "q", "answer": "a", "instruction": "i", "output": "o"}
    assert schema_of(row) == "alpaca"
    assert schema_of(row, "question/answer") == "question/answer"
    assert schema_of(row, "sharegpt") == "alpaca"


@pytest.mark.parametrize("asked", [None, "messages"])
def test_a_layout_with_nulls_comes_after_one_without(asked: Any) -> None:
    row = {"messages": None, "prompt": "p", "completion": None, "instruction": "i", "output": "o"}
    assert schema_of(row, asked) == "alpaca"
    assert schema_of(row | {"output": None}, asked) == "messages"
    assert schema_of(row, "prompt/completion") == "prompt/completion"  # which is asked for, and not all null
    assert schema_of(row | {"output": ""}, asked) == "alpaca"  # an empty answer is a mistake, not another layout


def test_every_column_of_a_layout_has_a_standard_name() -> None:
    assert {column for columns in SCHEMAS.values() for column in columns} <= set(STANDARD_COLUMNS)
    assert set(STANDARD_COLUMNS) >= LIST_COLUMNS
