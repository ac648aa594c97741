"""Which characters of a text get a sentinel (`sentinels.py`): found without a list of all of them.

Tags hold no white space, so a search may begin at any white space.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import numpy as np

# ends: a text's first and last character, which changes least of what a template may look at. all: every one but
# those of thinking's tags, so that what is missing is known exactly. outside tags: for templates that look at others.
# middle: for those that look at how a text begins or ends.
Mode = Literal["ends", "all", "outside tags", "middle"]

THINKING_TAG = re.compile(r"</?(?:think|thinking|thought|reasoning|seed:think|mm:think)>|\[/?THINK\]|[◁</]+think▷")
_TAG = re.compile(rf"{THINKING_TAG.pattern}|<[^<>\s]{{1,60}}>|\[/?[A-Z_]+\]")
# letters and digits, and all that is no white space: outside tags, or else anywhere
_WORD, _FREE, _TAGGED_WORD, _ANY = (
    re.compile(pattern) for pattern in (rf"{_TAG.pattern}|([^\W_])", rf"{_TAG.pattern}|(\S)", r"([^\W_])", r"(\S)")
)
_CHUNK, _FEW = 1 << 16, 16
_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], np.uint32)


def places(text: str, mode: Mode, step: int, cut: int = 0) -> list[int]:
    """Offsets of `text`, which is not blank, to be marked, in order.

    In modes all and outside tags every `step`-th; in mode ends with a `cut`, also on both sides of it, so that it can
    be found.
    """
    if mode in ("all", "outside tags"):
        return _every(text, THINKING_TAG if mode == "all" else _TAG, step)
    words = next(pattern for pattern in (_WORD, _FREE, _TAGGED_WORD, _ANY) if _first(text, pattern) is not None)
    if mode == "middle":
        num = sum(1 for _ in _each(text, words))
        return list(islice(_each(text, words), num // 2, num // 2 + 1))
    ends = {_first(text, words), _last(text, words)}
    if cut:
        free = _FREE if words in (_WORD, _FREE) else _ANY
        after = _first(text, words, cut)
        ends.add(_first(text, free, cut) if after is None else after)
    return sorted(offset for offset in ends if offset is not None)


def _each(text: str, pattern: re.Pattern[str], begin: int = 0) -> Iterator[int]:
    return (found.start() for found in pattern.finditer(text, begin) if found.group(1))


def _first(text: str, pattern: re.Pattern[str], at: int = 0) -> int | None:
    """The first offset from `at` on."""
    begin = at
    while begin and not text[begin - 1].isspace():
        begin -= 1
    return next((offset for offset in _each(text, pattern, begin) if offset >= at), None)


def _last(text: str, pattern: re.Pattern[str]) -> int | None:
    size = _FEW  # of most texts the last words say it
    while True:
        begin = max(0, len(text) - size)
        while begin and not text[begin - 1].isspace():
            begin -= 1
        last = None
        for offset in _each(text, pattern, begin):
            last = offset
        if last is not None or not begin:
            return last
        size *= 8


def _every(text: str, tags: re.Pattern[str], step: int) -> list[int]:
    """Every `step`-th character that is no white space and, unless all are, in no tag; and the last."""
    is_free = np.ones(len(text), bool)
    for begin in range(0, len(text), _CHUNK):
        codes = np.frombuffer(text[begin : begin + _CHUNK].encode("utf-32-le", "surrogatepass"), np.uint32)
        is_free[begin : begin + _CHUNK] = ~np.isin(codes, _SPACES)
    outside = is_free.copy()
    for found in tags.finditer(text):
        outside[found.start() : found.end()] = False
    chosen = outside if outside.any() else is_free
    wanted: list[int] = []
    last = num = 0
    for begin in range(0, len(text), _CHUNK):
        offsets = np.flatnonzero(chosen[begin : begin + _CHUNK]) + begin
        wanted += offsets[-num % step :: step].tolist()
        num += len(offsets)
        last = int(offsets[-1]) if len(offsets) else last
    return sorted({*wanted, last})
