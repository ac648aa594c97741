"""Which characters of a rendering come from which turn, whatever the template does with them.

Some characters of the turns' texts are replaced by sentinels: characters of Unicode's private use planes, each of them
once. The row is rendered so, and the sentinels are turned back. If that gives the rendering of the row as it is, then
each sentinel shows where its character went, and what has lost its sentinels was left out. What templates look at stays
as it is: white space, and in most modes the text of tags such as <think>.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from g2is.examples.conversation import Turn
from g2is.examples.marked_places import Mode, places
from g2is.examples.messages import TOOL_CALLS, Kind, Row, function_of

_FIRST, _LAST = 0xF0000, 0x10FFFD
_PRIVATE = re.compile("[\U000f0000-\U0010fffd]")


@dataclass(frozen=True)
class Piece:
    """A text that a turn brings, by the turn's place in its row."""

    turn: int
    kind: Kind
    text: str


@dataclass(frozen=True)
class Mark:
    """A character of a piece, by its offset there, at a place of a rendering."""

    at: int
    piece: int
    offset: int


class Sentinels:
    """A row with sentinels in it, as `row`, and how to read them."""

    def __init__(self, row: Row, mode: Mode, only: int | None = None, calls: bool = True) -> None:
        self.pieces: list[Piece] = []
        self._mode = mode
        self._origin: dict[str, tuple[int, int]] = {}
        self._back: dict[str, str] = {}
        self._next = _FIRST
        self._taken = {tag for turn in row.turns for text in (turn.content, turn.reasoning) for tag in _private(text)}
        wanted = [i for i in range(len(row.turns)) if only in (None, i)]
        self._step = 1 + sum(len(row.turns[i].content) + len(row.turns[i].reasoning) for i in wanted) // (
            _LAST - _FIRST
        )
        self.row = replace(
            row, turns=tuple(self._turn(i, t, calls) if i in wanted else t for i, t in enumerate(row.turns))
        )

    def untagged(self, text: str) -> str:
        """`text` with the characters that the sentinels stand for."""
        return _PRIVATE.sub(lambda found: self._back.get(found.group(), found.group()), text)

    def find(self, text: str) -> list[Mark]:
        """The sentinels in `text`, in order."""
        return [
            Mark(found.start(), *self._origin[found.group()])
            for found in _PRIVATE.finditer(text)
            if found.group() in self._origin
        ]

    def offsets(self, piece: int) -> list[int]:
        """The offsets in `piece` that have a sentinel."""
        return sorted(offset for number, offset in self._origin.values() if number == piece)

    def _turn(self, index: int, turn: Turn, calls: bool) -> Turn:
        extra = turn.extra
        # in the order in which templates write them
        reasoning = self._text(index, "reasoning", turn.reasoning)
        content = self._text(index, "text", turn.content, len(turn.prefill))
        if calls and extra.get(TOOL_CALLS):
            extra = {**extra, TOOL_CALLS: [self._call(index, call) for call in extra[TOOL_CALLS]]}
        return replace(turn, content=content, reasoning=reasoning, extra=extra)

    def _call(self, index: int, call: Mapping[str, Any]) -> Mapping[str, Any]:
        function = dict(function_of(call))
        if isinstance(function.get("name"), str):
            function["name"] = self._text(index, "tool call", function["name"])
        function["arguments"] = self._strings(index, function.get("arguments"))
        return {**call, "function": function} if isinstance(call.get("function"), Mapping) else {**call, **function}

    def _strings(self, index: int, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(index, "tool call", value)
        if isinstance(value, Mapping):
            return {key: self._strings(index, item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._strings(index, item) for item in value]
        return value

    def _text(self, index: int, kind: Kind, text: str, cut: int = 0) -> str:
        if not text.strip():
            return text
        number = len(self.pieces)
        self.pieces.append(Piece(index, kind, text))
        parts, done = [], 0
        for offset in places(text, self._mode, self._step, cut):
            tag = self._fresh()
            self._origin[tag] = (number, offset)
            self._back[tag] = text[offset]
            parts += [text[done:offset], tag]
            done = offset + 1
        return "".join([*parts, text[done:]])

    def _fresh(self) -> str:
        while chr(self._next) in self._taken or (self._next & 0xFFFE) == 0xFFFE:
            self._next += 1
        self._next += 1
        return chr(self._next - 1)


def _private(text: str) -> Iterator[str]:
    return (found.group() for found in _PRIVATE.finditer(text))
