"""Where each text of a row stands in a rendering, and what of it does not."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from g2is.examples.marked_places import THINKING_TAG, Mode
from g2is.examples.messages import Kind, Row
from g2is.examples.sentinels import Mark, Piece, Sentinels

_MODES: tuple[Mode, ...] = ("ends", "all", "outside tags", "middle")
_SHOWN = 40


@dataclass(frozen=True)
class Standing:
    """A piece in a rendering, from `start` to `end`; nowhere if both are None. `missing` begins what it lacks."""

    piece: Piece
    marks: tuple[Mark, ...]
    start: int | None
    end: int | None
    missing: str | None


@dataclass(frozen=True)
class Located:
    """All pieces of a row in its rendering, and the sentinels that show them."""

    sentinels: Sentinels
    tagged: str
    marks: tuple[Mark, ...]
    standing: tuple[Standing, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every piece stands there whole."""
        return all(of.missing is None for of in self.standing)

    def of_turn(self, index: int) -> list[Standing]:
        """The pieces of a turn that are there."""
        return [of for of in self.standing if of.piece.turn == index and of.start is not None]


def locate(row: Row, text: str, render: Callable[[Row], str | None]) -> Located | None:
    """Find the pieces of `row` in its rendering `text`; None if the template rewrites some beyond recognition.

    `render` gives the rendering of a row with sentinels, None where the template refuses it.
    """
    best = None
    for mode in _MODES:
        located = _locate(row, mode, text, render)
        if located is None and mode == "ends":  # a template may look at what a tool is called
            located = _locate(row, mode, text, render, calls=False)
        if located is not None and (located.is_whole or mode == "all"):
            return located  # in mode all, what is missing is known exactly
        best = best or located
    return best


def _locate(row: Row, mode: Mode, text: str, render: Callable[[Row], str | None], calls: bool = True) -> Located | None:
    sentinels = Sentinels(row, mode, calls=calls)
    tagged = render(sentinels.row)
    if tagged is None or sentinels.untagged(tagged) != text:
        return None
    marks = tuple(sentinels.find(tagged))
    return Located(sentinels, tagged, marks, _standing(sentinels, marks, text, mode))


def first_rewritten(row: Row, text: str, render: Callable[[Row], str | None]) -> int | None:
    """The first turn that cannot be recognised in `text`, None if each alone can."""
    for index in range(len(row.turns)):
        found = False
        for mode in _MODES:
            sentinels = Sentinels(row, mode, only=index)
            tagged = render(sentinels.row)
            found = found or (tagged is not None and sentinels.untagged(tagged) == text)
        if not found:
            return index
    return None


def _standing(sentinels: Sentinels, marks: Sequence[Mark], text: str, mode: Mode) -> tuple[Standing, ...]:
    by_piece: dict[int, list[Mark]] = {}
    for mark in marks:
        by_piece.setdefault(mark.piece, []).append(mark)
    return tuple(
        _stand(piece, by_piece.get(number, []), sentinels.offsets(number), text, mode)
        for number, piece in enumerate(sentinels.pieces)
    )


def _stand(piece: Piece, marks: list[Mark], offsets: list[int], text: str, mode: Mode) -> Standing:
    if not marks:
        return Standing(piece, (), None, None, piece.text)
    own = _one_writing(piece.kind, marks, offsets)
    first, last = own[0], own[-1]
    left, middle = piece.text[: first.offset], piece.text[first.offset : last.offset + 1]
    right = piece.text[last.offset + 1 :]
    for escaped in (False, True):  # some templates write a tool's result as JSON
        as_written = _in_json if escaped else str
        start = _back(text, first.at, as_written(left))
        end = _forward(text, last.at + 1, as_written(right))
        if start is None or end is None or not _same(text[first.at : last.at + 1], as_written(middle)):
            continue
        if not escaped:
            start, end = _with_space(text, start, end, piece.text)
        return Standing(piece, tuple(own), start, end, None)
    missing = _first_missing(piece.text, offsets, own)
    if missing is None and mode != "all":
        missing = piece.text
    return Standing(piece, tuple(own), first.at, last.at + 1, missing)


def _one_writing(kind: Kind, marks: list[Mark], offsets: list[int]) -> list[Mark]:
    """The marks of one writing of a text that stands there whole, else all marks that follow in order.

    Templates write a text a second time before its turn, as a title, but the name of a tool after it, at its result.
    """
    begins = range(len(marks) - len(offsets) + 1)
    for begin in begins if kind == "tool call" else reversed(begins):
        run = marks[begin : begin + len(offsets)]
        if [one.offset for one in run] == offsets:
            return run
    own: list[Mark] = []
    for mark in marks:
        if not own or mark.offset > own[-1].offset:
            own.append(mark)
    return own


def _first_missing(text: str, offsets: list[int], own: Sequence[Mark]) -> str | None:
    there = {mark.offset for mark in own}
    gone = [offset for offset in offsets if offset not in there]
    if not gone:
        return None
    later = [offset for offset in offsets if offset > gone[0] and offset in there]
    return text[gone[0] : later[0] if later else len(text)]


def shown(missing: str) -> str:
    """The beginning of a text that is missing, as a message quotes it."""
    words = " ".join(THINKING_TAG.sub(" ", missing).split()) or " ".join(missing.split())
    return repr(words if len(words) <= _SHOWN else words[:_SHOWN] + "…")


def is_thinking_alone(text: str) -> bool:
    """Whether `text` is the tags of a thinking block with nothing in it."""
    return bool(THINKING_TAG.search(text)) and not THINKING_TAG.sub("", text).strip()


def _same(left: str, right: str) -> bool:
    return left == right or "".join(left.split()) == "".join(right.split())


def _in_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _back(text: str, at: int, wanted: str) -> int | None:
    """Where `wanted`, white space aside, begins that ends before `at`; thinking's tags need not be there."""
    for given in (wanted, THINKING_TAG.sub("", wanted)):
        start: int | None = at
        for letter in reversed("".join(given.split())):
            assert start is not None
            start -= 1
            while start >= 0 and text[start].isspace():
                start -= 1
            if start < 0 or text[start] != letter:
                start = None
                break
        if start is not None:
            return start
    return None


def _forward(text: str, at: int, wanted: str) -> int | None:
    """Where `wanted`, white space aside, ends that begins at `at`."""
    for letter in "".join(wanted.split()):
        while at < len(text) and text[at].isspace():
            at += 1
        if at >= len(text) or text[at] != letter:
            return None
        at += 1
    return at


def _with_space(text: str, start: int, end: int, given: str) -> tuple[int, int]:
    """A piece's place with the white space that was given around it, as far as the template kept it."""
    before = given[: len(given) - len(given.lstrip())]
    after = given[len(given.rstrip()) :]
    return (
        start - len(before) if text[:start].endswith(before) else start,
        end + len(after) if text.startswith(after, end) else end,
    )
