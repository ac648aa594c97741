"""Rows of no layout are told the flags that would have them read, and these do."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.read import Example, read_examples
from g2is.examples.sources import find_sources
from g2is.examples.unknown_columns import columns_to_name

Write = Callable[..., Path]
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
# rows as public data sets have them, and what is read with the flags that they are told
ROWS: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "Dolly": (
        {"instruction": "q", "context": "c", "response": "a", "category": "open_qa"},
        ["output=response", "input=context"],
        ["q\n\nc", "a"],
    ),
    "OpenOrca": ({"system_prompt": "s", "question": "q", "response": "a"}, ["answer=response"], ["s", "q", "a"]),
    "MetaMathQA": (
        {"type": "GSM", "query": "q", "original_question": "o", "response": "a"},
        ["question=query", "answer=response"],
        ["q", "a"],
    ),
    "OpenR1": ({"problem": "q", "solution": "a"}, ["question=problem", "answer=solution"], ["q", "a"]),
    "an input and an output": ({"input": "q", "output": "a"}, ["instruction=input"], ["q", "a"]),
    "a prompt and a response": ({"prompt": "q", "response": "a"}, ["completion=response"], ["q", "a"]),
    "turns": ({"dialog": TURNS}, ["messages=dialog"], ["q", "a"]),
    "turns called by two words": ({"the dialog": TURNS}, ["messages=the dialog"], ["q", "a"]),
}


def read(path: Path, **settings: Any) -> list[Example]:
    return list(read_examples(find_sources([str(path)]), ExamplesConfig(**settings)))


@pytest.mark.parametrize("name", ROWS)
def test_the_flags_that_are_told_have_the_row_read(name: str, write_rows: Write) -> None:
    row, expected, texts = ROWS[name]
    path = write_rows(row)
    with pytest.raises(InputError, match="name them with --column, such as") as error:
        read(path)
    told = str(error.value).partition(", such as ")[2].splitlines()[0]
    flags = [word for word in shlex.split(told) if word != "--column"]
    assert flags == expected
    (example,) = read(path, columns=dict(flag.split("=") for flag in flags))
    assert [turn.content for turn in example.conversation.turns] == texts


@pytest.mark.parametrize(
    "row",
    [
        {"text": "q and a"},
        {"question": "q", "answers": {"text": ["a"]}},
        {"conversation": [{"input": "q", "output": "a"}]},
        {"response": "a"},
    ],
)
def test_a_row_that_is_like_no_layout_is_told_the_flag_alone(row: dict[str, Any], write_rows: Write) -> None:
    assert columns_to_name(row) == {}
    with pytest.raises(InputError, match=r"name them with --column, such as --column answer=COLUMN\n"):
        read(write_rows(row))


def test_flags_are_told_once_while_the_columns_stay_the_same(write_rows: Write) -> None:
    one, other = {"query": "q", "response": "a"}, {"text": "a"}
    with pytest.raises(InputError, match="4 rows cannot be used") as error:
        read(write_rows(one, one, other, one))
    _, first, again, another, back, _ = str(error.value).splitlines()
    assert first.endswith("--column question=query --column answer=response")
    assert again.endswith(":2 (row-1): expected the columns of a known layout, found query, response again")
    assert another.endswith("found columns text; name them with --column, such as --column answer=COLUMN")
    assert back.endswith("--column question=query --column answer=response")


def test_each_preference_pair_is_told_as_such(write_rows: Write) -> None:
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    with pytest.raises(InputError, match="2 rows cannot be used") as error:
        read(write_rows(pair, pair))
    assert str(error.value).count("--column completion=chosen") == 2
