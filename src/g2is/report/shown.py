"""What a page is made of: the rows of a pool that it shows, and how much of their texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHORT = 80  # characters of a row that is shown by its beginning alone
_MOST_OF_A_TURN = 4_000
_MOST_IN_ALL = 5_000_000  # bytes of whole texts, as UTF-8: with all else the page stays below 12 MB

Turns = Sequence[tuple[str, str]]  # role and content of each


@dataclass(frozen=True, eq=False)
class Shown:
    """P rows of a pool of `num_rows`: their record numbers `rows` (P,), `ids`, `turns`, `sources`, `categories` (None:
    rows have none), `num_tokens` (P,) and `num_answer_tokens` (P,).
    """

    num_rows: int
    rows: NDArray[np.int64]
    ids: Sequence[str]
    turns: Sequence[Turns]
    sources: Sequence[str]
    categories: Sequence[str] | None
    num_tokens: NDArray[np.int64]
    num_answer_tokens: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TargetExample:
    """An example of a target."""

    id: str
    target: str
    turns: Turns


def beginning(turns: Turns) -> str:
    """The first characters of what a user asks, or of whatever is there, on one line."""
    asked = next((content for role, content in turns if role == "user" and content.strip()), None)
    text = asked if asked is not None else next((content for _, content in turns if content.strip()), "")
    words = " ".join(text[: 8 * SHORT].split())
    return words if len(words) <= SHORT else words[: SHORT - 1].rstrip() + "…"


def whole(turns: Turns) -> list[list[str]]:
    """Role and text of each turn; of a very long one its beginning, and how much is not shown."""
    return [
        [role, content if len(content) <= _MOST_OF_A_TURN else _cut(content)]
        for role, content in turns
        if content.strip()
    ]


def _cut(text: str) -> str:
    return f"{text[:_MOST_OF_A_TURN]} … ({len(text) - _MOST_OF_A_TURN:,} more characters are not shown)"


def whole_texts(turns: Sequence[Turns], wanted: Iterable[int]) -> dict[int, list[list[str]]]:
    """The texts of the rows `wanted`, in that order, as far as there is room on a page; each once."""
    texts: dict[int, list[list[str]]] = {}
    left = _MOST_IN_ALL
    for row in wanted:
        if row < 0 or row in texts:
            continue
        text = whole(turns[row])
        left -= sum(len(content.encode()) for _, content in text)
        if left < 0:
            break
        texts[row] = text
    return texts
