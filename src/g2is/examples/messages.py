"""A row's turns in the forms that chat templates read: system texts merged, tool calls with their arguments as objects.

A turn keeps the number that the row gave it, whatever is done with its neighbours: messages name it.
"""

import json
import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from g2is.examples.conversation import ASSISTANT, SYSTEM, USER, Conversation, Turn

TOOL_CALLS = "tool_calls"

Kind = Literal["text", "reasoning", "tool call"]


@dataclass(frozen=True)
class Row:
    """Turns, the number of each in the row as it was given (from 1), and the tools."""

    turns: tuple[Turn, ...]
    numbers: tuple[int, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    content_is_null: bool = False  # of a turn that is tool calls alone

    @classmethod
    def of(cls, conversation: Conversation) -> "Row":
        """The row of a conversation, each turn with its own number."""
        return cls(conversation.turns, tuple(range(1, len(conversation.turns) + 1)), conversation.tools)

    def name(self, index: int) -> str:
        """What a message calls the turn at `index`."""
        return f"turn {self.numbers[index]} ({self.turns[index].role})"

    def without(self, leaves: Callable[[Turn], bool]) -> "Row":
        """The row without the turns that are to leave."""
        kept = [i for i, turn in enumerate(self.turns) if not leaves(turn)]
        return replace(self, turns=tuple(self.turns[i] for i in kept), numbers=tuple(self.numbers[i] for i in kept))

    def first(self, num: int) -> "Row":
        """The row up to its turn at `num`."""
        return replace(self, turns=self.turns[:num], numbers=self.numbers[:num])


def merged_systems(row: Row) -> Row:
    """`row` with each system text in front of the next user turn; one that no user turn follows stays where it is."""
    turns: list[Turn] = []
    numbers: list[int] = []
    waiting: list[tuple[int, Turn]] = []
    for number, turn in zip(row.numbers, row.turns, strict=True):
        if turn.role == SYSTEM:
            waiting.append((number, turn))
            continue
        if turn.role == USER and waiting:
            texts = [text for _, system in waiting if (text := system.content.strip())]
            turn = replace(turn, content="\n\n".join([*texts, turn.content]))
            waiting = []
        turns.append(turn)
        numbers.append(number)
    for number, turn in waiting:
        place = bisect(numbers, number)
        turns.insert(place, turn)
        numbers.insert(place, number)
    return replace(row, turns=tuple(turns), numbers=tuple(numbers))


_INLINE = re.compile(r"\s*<think>(.*?)</think>\s*(.*)", re.DOTALL)


def reasoning_apart(row: Row) -> Row:
    """`row` with the thinking that begins an assistant's text as its reasoning."""
    turns = []
    for turn in row.turns:
        inline = _INLINE.fullmatch(turn.content) if turn.role == ASSISTANT and not turn.prefill else None
        if inline and inline.group(1).strip() and not turn.reasoning:
            turn = replace(turn, reasoning=inline.group(1).strip("\n"), content=inline.group(2))
        turns.append(turn)
    return replace(row, turns=tuple(turns))


def forms(row: Row) -> Iterator[Row]:
    """The forms in which templates may want tool calls, the commonest first: a row without any has one form."""
    if not any(turn.extra.get(TOOL_CALLS) for turn in row.turns):
        yield row
        return
    as_objects = replace(row, turns=tuple(_with_arguments(turn, _as_object) for turn in row.turns))
    as_text = replace(row, turns=tuple(_with_arguments(turn, _as_text) for turn in row.turns))
    for form in (as_objects, as_text):
        yield form
        if any(turn.extra.get(TOOL_CALLS) and not turn.content for turn in row.turns):
            yield replace(form, content_is_null=True)


def functions_called(turn: Turn) -> list[Mapping[str, Any]]:
    """The {name, arguments} of each of a turn's tool calls."""
    calls = turn.extra.get(TOOL_CALLS) or ()
    return [function_of(call) for call in calls]


def function_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a tool call or a tool's schema says of its function, in OpenAI's form or alone."""
    function = call.get("function")
    return function if isinstance(function, Mapping) else call


def as_messages(row: Row, in_parts: bool) -> list[dict[str, Any]]:
    """What `apply_chat_template` would be given; `in_parts`: texts as lists of {type, text}."""
    messages = []
    for turn in row.turns:
        content: Any = [{"type": "text", "text": turn.content}] if in_parts else turn.content
        if row.content_is_null and not turn.content and turn.extra.get(TOOL_CALLS):
            content = None
        message: dict[str, Any] = {"role": turn.role, "content": content, **turn.extra}
        if turn.role == ASSISTANT and turn.reasoning:
            # the names that templates know it by: most the first, gpt-oss the second
            message.update(reasoning_content=turn.reasoning, thinking=turn.reasoning)
        messages.append(message)
    return messages


def _with_arguments(turn: Turn, form: Callable[[Any], Any]) -> Turn:
    calls: Sequence[Mapping[str, Any]] | None = turn.extra.get(TOOL_CALLS)
    if not calls:
        return turn
    changed = []
    for call in calls:
        function = function_of(call)
        function = {**function, "arguments": form(function.get("arguments"))}
        changed.append({**call, "function": function} if isinstance(call.get("function"), Mapping) else function)
    return replace(turn, extra={**turn.extra, TOOL_CALLS: changed})


def _as_object(arguments: Any) -> Any:
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments)
        except ValueError:
            return arguments
        return parsed if isinstance(parsed, dict) else arguments
    return arguments


def _as_text(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
