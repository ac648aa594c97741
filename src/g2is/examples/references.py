"""What rows ask and what is right: their own last answer, and `references` and `answer` as test files have them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.conversation import USER, Conversation
from g2is.examples.problems import BadRow
from g2is.examples.read import Example, read_examples
from g2is.examples.schemas import json_type
from g2is.examples.sources import Source


@dataclass(frozen=True)
class RightAnswer:
    """What a row asks for, in its own words.

    `expected` is its last learned answer without the prefill, `reasoning` what the row has of the thoughts before it,
    `question` the last user turn before it (empty if there is none), `num_answers` how many turns are learned. `others`
    are as right as `expected`; `short` is the short answer that numbers are compared with, if the row has one. It
    `calls` if tools are called, of which `expected` says nothing.
    """

    expected: str
    reasoning: str
    question: str
    num_answers: int
    others: tuple[str, ...] = ()
    short: str | None = None
    calls: bool = False


def read_references(sources: Sequence[Source], config: ExamplesConfig) -> Iterator[tuple[int, RightAnswer | BadRow]]:
    """The number of each row that can be read, with what is right there, or with what is wrong.

    `references` is a list of strings (in CSV as JSON text); `answer`, or the column that is mapped to it, a string or
    number. Null or empty counts as absent. Raises InputError as `read_examples`.
    """
    for example in read_examples(sources, config):
        try:
            said = _of(example, config.columns.get("answer", "answer"))
            yield example.row, right_answer(example.conversation, *said)
        except InputError as problem:
            yield example.row, BadRow(example.origin, example.line, example.id, example.raw, problem)


def right_answer(conversation: Conversation, others: tuple[str, ...] = (), short: str | None = None) -> RightAnswer:
    """What a conversation asks for: the learned turn that comes last."""
    learned = [index for index, turn in enumerate(conversation.turns) if turn.is_learned]
    last = conversation.turns[learned[-1]]
    asked = [turn.content for turn in conversation.turns[: learned[-1]] if turn.role == USER]
    expected = last.content.removeprefix(last.prefill)
    calls = bool(last.extra.get("tool_calls"))
    return RightAnswer(expected, last.reasoning, asked[-1] if asked else "", len(learned), others, short, calls)


def _of(example: Example, answer_column: str) -> tuple[tuple[str, ...], str | None]:
    values: dict[str, Any] = json.loads(example.raw)
    others, answer = values.get("references"), values.get(answer_column)
    if isinstance(others, str) and others and example.origin.format == "CSV":
        try:
            others = json.loads(others)
        except ValueError:
            raise InputError("expected a list of strings as JSON in `references`, found other text") from None
    if others in (None, ""):
        others = []
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        found = "a list of others" if isinstance(others, list) else json_type(others)
        raise InputError(f"expected a list of strings in `references`, found {found}")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        raise InputError(f"expected a string or a number in `{answer_column}`, found {json_type(answer)}")
    return tuple(others), None if answer in (None, "") else str(answer)
