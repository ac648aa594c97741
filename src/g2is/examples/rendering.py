"""A conversation as text, and where its answers stand in it."""

from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True)
class Answer:
    """An answer in a rendering: characters from `start` to `text_end`, its end of turn from there to `end`."""

    start: int
    text_end: int
    end: int


@dataclass(frozen=True)
class Rendering:
    """A whole conversation as text, its answers in order, and what the row gives that the text lacks, by name."""

    text: str
    answers: tuple[Answer, ...]
    dropped: tuple[str, ...] = ()
