"""Tokens of texts of any length, in memory that does not grow with the text beyond its tokens.

A tokenizer takes some hundred bytes for each character while it works. So a long text is tokenised in windows that
overlap, and joined where both windows have the very same tokens at the same characters, away from either's edges: what
stands there does not depend on where the text was cut. White space and digits are read in runs by some tokenizers (a
special token takes the spaces beside it, digits are grouped from their end), so no join stands in a run of these whose
ends are not seen. Where no such place is found, the windows grow. The tokens are those of the whole text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g2is.errors import InputError
from g2is.model.tokenizer_check import giving_up

WINDOW = 1 << 17  # characters
MOST = 1 << 22  # characters that are tokenised at once, where they must be
_MARGIN = 1 << 11  # characters: from where a window begins to where it is compared, how long, and from there to its end
_SEEN = re.compile(r"[^\s\d]|\d\s|\s\d")  # the end of a run of white space or digits


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of a text: `ids` (T,) int32; `starts` and `ends` (T,) int32, their characters, if they were asked for."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def part(self, begin: int, end: int) -> "Tokens":
        """Tokens `begin` to `end`."""
        return Tokens(self.ids[begin:end], self.starts[begin:end], self.ends[begin:end])

    def inside(self, spans: Sequence[tuple[int, int]]) -> np.ndarray:
        """Return (T,) bool: tokens with a character inside one of `spans`, which are half-open."""
        # Tokenizers that trim offsets give a token of spaces only the empty span at its end.
        starts = np.where(self.starts == self.ends, self.ends - 1, self.starts)
        mask = np.zeros(len(starts), bool)
        for start, end in spans:
            mask |= (starts < end) & (self.ends > start)
        return mask

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and all(
            np.array_equal(mine, theirs)
            for mine, theirs in ((self.ids, other.ids), (self.starts, other.starts), (self.ends, other.ends))
        )

    __hash__ = None  # type: ignore[assignment]


def tokenize(
    tokenizer: Any, texts: Sequence[str], *, offsets: bool = False, add_special_tokens: bool = False
) -> list[Tokens | InputError]:
    """Tokens of each of `texts`; those that the tokenizer itself adds where asked for.

    `offsets`: with the characters of each token, which needs a fast tokenizer; else `starts` and `ends` are empty. In
    place of a text that cannot be tokenised in pieces, and is too long to be at once, stands an InputError.
    """
    short = [text for text in texts if len(text) <= 2 * WINDOW]
    of_short = iter(_encode(tokenizer, short, offsets, add_special_tokens) if short else ())
    found: list[Tokens | InputError] = []
    for text in texts:
        if len(text) <= 2 * WINDOW:
            found.append(next(of_short))
            continue
        try:
            found.append(_long(tokenizer, text, offsets, add_special_tokens))
        except InputError as problem:
            found.append(problem)
    return found


def _encode(tokenizer: Any, texts: list[str], offsets: bool, add_special_tokens: bool) -> list[Tokens]:
    plain = {"padding": False, "truncation": False, "return_attention_mask": False, "return_token_type_ids": False}
    with giving_up("tokenizer"):
        encoding = tokenizer(
            texts, add_special_tokens=add_special_tokens, verbose=False, return_offsets_mapping=offsets, **plain
        )
    tokens = []
    for number, ids in enumerate(encoding["input_ids"]):
        at = np.array(encoding["offset_mapping"][number] if offsets else (), np.int32).reshape(-1, 2)
        tokens.append(Tokens(np.array(ids, np.int32), at[:, 0].copy(), at[:, 1].copy()))
    return tokens


def _long(tokenizer: Any, text: str, offsets: bool, add_special_tokens: bool) -> Tokens:
    if not tokenizer.is_fast:  # it tells no characters, by which windows are joined
        if len(text) > MOST:
            raise _too_long(len(text), "a tokenizer that is not fast (no tokenizer.json)")
        return _encode(tokenizer, [text], False, add_special_tokens)[0]
    joined = _joined(tokenizer, text)
    empty = joined.starts[:0]
    ids = joined.ids
    if add_special_tokens:
        before, after = _added(tokenizer)
        ids = np.concatenate([before, ids, after])
    return joined if offsets and not add_special_tokens else Tokens(ids, empty, empty)


def _added(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the tokenizer adds before and after a text of its own accord."""
    whole, bare = (_encode(tokenizer, ["a"], False, added)[0].ids for added in (True, False))
    for at in range(len(whole) - len(bare) + 1):
        if np.array_equal(whole[at : at + len(bare)], bare):
            return whole[:at], whole[at + len(bare) :]
    raise AssertionError("expected the tokens of a text among those with what is added to it")


def _joined(tokenizer: Any, text: str) -> Tokens:
    kept: list[Tokens] = []
    begin, first, window = 0, 0, WINDOW  # where the window begins, and the first of its tokens that is not kept yet
    tokens = _window(tokenizer, text, begin, window)
    while begin + window < len(text):
        join = _join(tokenizer, text, tokens, begin + window)
        if join is None:
            window *= 2
            if window > MOST and begin + MOST < len(text):
                raise _too_long(
                    len(text),
                    f"{MOST} of them in a row, from character {begin + 1} on, that this tokenizer takes as one (all"
                    " spaces, digits, or one word)",
                )
            # What it has up to `first` depends on what is left of it alone, by which it was joined.
            at = int(tokens.starts[first]) if begin else 0
            tokens = _window(tokenizer, text, begin, window)
            first = int(np.searchsorted(tokens.starts, at)) if begin else 0
            continue
        last, begin, following, found = join
        kept.append(tokens.part(first, last))
        tokens, first, window = found, following, WINDOW
    kept.append(tokens.part(first, len(tokens.ids)))
    return Tokens(*(np.concatenate([getattr(of, name) for of in kept]) for name in ("ids", "starts", "ends")))


def _window(tokenizer: Any, text: str, begin: int, size: int) -> Tokens:
    (of,) = _encode(tokenizer, [text[begin : begin + size]], True, False)
    return Tokens(of.ids, of.starts + begin, of.ends + begin)


def _join(tokenizer: Any, text: str, tokens: Tokens, end: int) -> tuple[int, int, int, Tokens] | None:
    """How the window of `tokens`, which ends before character `end`, goes on; None where that cannot be seen.

    (how many of `tokens` come before the next window's, where that begins, which of its tokens is the first, its
    tokens)
    """
    low, high = end - 2 * _MARGIN, end - _MARGIN
    # It begins where a token does, so that what repeats (aaaa…) is cut as it was.
    index = int(np.searchsorted(tokens.starts, low - _MARGIN))
    if index == len(tokens.starts) or int(tokens.starts[index]) >= low:
        return None
    begin = int(tokens.starts[index])
    following = _window(tokenizer, text, begin, WINDOW)
    (i, i_end), (j, j_end) = ((_between(of, low, high)) for of in (tokens, following))
    if i == i_end or tokens.part(i, i_end) != following.part(j, j_end):
        return None
    at = int(tokens.starts[i])
    if _SEEN.search(text, begin, at) is None or _SEEN.search(text, at, end) is None:
        return None
    return i, begin, j, following


def _between(tokens: Tokens, low: int, high: int) -> tuple[int, int]:
    """The tokens that begin at `low` or later and end at `high` or before."""
    begin = int(np.searchsorted(tokens.starts, low))
    return begin, max(begin, int(np.searchsorted(tokens.ends, high, side="right")))


def _too_long(length: int, what: str) -> InputError:
    return InputError(
        f"expected a text that can be tokenised in pieces, found one of {length} characters with {what}; shorten it or"
        " leave the row out"
    )
