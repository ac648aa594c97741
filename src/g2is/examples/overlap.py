"""Which pool rows repeat a test example: the 13-gram rule, on words.

**Words** are runs of Unicode letters and digits, with the marks on them, after NFKC and case folding: case, punctuation
and white space say nothing, and neither do full-width forms. Chinese and Japanese are written without spaces, so each
of their characters is a word; in Thai, Lao, Khmer and Burmese a word is whatever stands between spaces, so that only
longer copies are found there.

**Text** is all turns but the system's, one after the other: a system prompt is shared by rows that share nothing else.
(A task's instructions in the user's turn are text: rows of the same task overlap by those, if they are long.)

**Overlap** is n words in a row that a test example has too. A test example of fewer words has no such run: a row
overlaps with it if the row's words, or those of one of its turns, are exactly the example's.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from g2is.examples.conversation import Turn
from g2is.examples.read import Example

NUM_WORDS = 13

# of ASCII text, the common case: all but letters and digits become spaces
_ASCII_WORDS = bytes(ord(chr(i).lower()) if i < 128 and chr(i).isalnum() else 32 for i in range(256))
# Han with its iteration marks, hiragana and katakana (half-width ones are full-width after NFKC)
_SPACELESS = (
    (0x3005, 0x3007),
    (0x3041, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_VARIATIONS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))  # of a character's look
_BASE = 0x9E3779B97F4A7C15  # odd: it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)
_BYTE_HASHES = np.frombuffer(
    b"".join(hashlib.blake2b(bytes([i]), digest_size=8, key=b"g2is overlap 1").digest() for i in range(256)), "<u8"
).astype(np.uint64)
_SLOTS_A_RUN = 8


@dataclass(frozen=True)
class Overlap:
    """The test example that a row overlaps with, by `line` and `id`, and the first run of `words` they share."""

    line: int
    id: str
    words: tuple[str, ...]


def folded_words(text: str) -> bytes:
    """The words of `text`, folded, in UTF-8 with one space between them.

    >>> folded_words("Don't SHOUT: 1,000 Äpfel_x 東京へ").decode()
    'don t shout 1 000 äpfel x 東 京 へ'
    """
    if text.isascii():
        separated = text.encode().translate(_ASCII_WORDS)
    else:
        separated = unicodedata.normalize("NFKC", text).casefold().translate(_SEPARATED).encode()
    return b" ".join(separated.split())


class _Separated(dict[int, str]):
    """What becomes of a character of folded text: a word's own stays, a word in itself gets spaces, the rest is one."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if any(low <= code <= high for low, high in _VARIATIONS):
            self[code] = ""
        elif character.isalnum() and any(low <= code <= high for low, high in _SPACELESS):
            self[code] = f" {character} "
        elif character.isalnum() or unicodedata.category(character).startswith("M"):
            self[code] = character
        else:
            self[code] = " "
        return self[code]


_SEPARATED = _Separated()


class OverlapIndex:
    """Every run of `num_words` words of a test set, to find those that pool rows repeat.

    Holds 16 bytes a run beside the test set's text, and 8 to 16 more to look it up by. Runs are looked up by a 64-bit
    hash of ours and then compared: a collision neither reports nor hides an overlap.
    """

    def __init__(self, examples: Iterable[Example], num_words: int = NUM_WORDS) -> None:
        """Index the test set's `examples`. Raises ValueError if `num_words` is below 1."""
        if num_words < 1:
            raise ValueError(f"expected num_words of at least 1, found {num_words}")
        self._num_words = num_words
        self._short: dict[bytes, tuple[int, str]] = {}  # words -> line and id
        self._places: list[tuple[int, str]] = []  # of the long ones
        self._powers = (np.empty(0, np.uint64), np.empty(0, np.uint64))
        texts: list[bytes] = []
        bounds = [0]  # where each long example begins in the text, and where the text ends
        hashes, starts = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for example in examples:
            words = _joined(_turns(example.conversation.turns))
            if _num_words(words) < num_words:
                if words:
                    self._short.setdefault(words, (example.line, example.id))
                continue
            of_runs, first, _ = self._runs(words)
            hashes.append(of_runs)
            starts.append(first + bounds[-1])
            texts.append(words)
            bounds.append(bounds[-1] + len(words))
            self._places.append((example.line, example.id))
        self._text = b"".join(texts)
        self._bounds = np.array(bounds, np.int64)
        all_hashes = np.concatenate(hashes)
        order = np.argsort(all_hashes, kind="stable")  # the first example that has a run comes first
        self._hashes = all_hashes[order]
        self._starts = np.concatenate(starts)[order]
        # most runs of a row are in no test example: one look at a table says so
        bits = max(10, (_SLOTS_A_RUN * len(all_hashes)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._taken = np.zeros(1 << bits, bool)
        self._taken[all_hashes >> self._shift] = True

    def find(self, turns: Sequence[Turn]) -> Overlap | None:
        """The first overlap of a row's turns with the test set; None if there is none."""
        words = _turns(turns)
        row = _joined(words)
        for candidate in (row, *words) if self._short else ():
            if candidate in self._short:
                return Overlap(*self._short[candidate], _words(candidate))
        if _num_words(row) < self._num_words:
            return None
        hashes, starts, ends = self._runs(row)
        candidates = self._taken[hashes >> self._shift].nonzero()[0]
        first = np.searchsorted(self._hashes, hashes[candidates])
        last = np.searchsorted(self._hashes, hashes[candidates], side="right")
        for i in (first < last).nonzero()[0].tolist():
            start, end = int(starts[candidates[i]]), int(ends[candidates[i]])
            for known in self._starts[first[i] : last[i]].tolist():
                if self._text[known : known + end - start] == row[start:end]:
                    number = int(np.searchsorted(self._bounds, known, side="right")) - 1
                    theirs = _words(self._text[known : self._bounds[number + 1]])
                    both = zip(_words(row[start:]), theirs, strict=False)
                    shared = tuple(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], both))
                    if len(shared) >= self._num_words:  # fewer: the bytes go on in another word or example
                        return Overlap(*self._places[number], shared)
        return None

    def _runs(self, words: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hash, start and end of each run of `num_words` words; the hash does not depend on where the run stands.

        It is Σ h(byte j) · b^(j - start) modulo 2^64: a difference of running sums, moved to the run's start.
        """
        size = len(words)
        if len(self._powers[0]) < size:
            self._powers = (_powers(_BASE, 2 * size), _powers(_INVERSE, 2 * size))
        rising, falling = self._powers
        characters = np.frombuffer(words, np.uint8)
        sums = np.zeros(size + 1, np.uint64)
        np.cumsum(_BYTE_HASHES[characters] * rising[:size], out=sums[1:])
        spaces = (characters == 32).nonzero()[0]
        starts = np.concatenate([[0], spaces + 1])[: len(spaces) + 2 - self._num_words]
        ends = np.concatenate([spaces, [size]])[self._num_words - 1 :]
        return (sums[ends] - sums[starts]) * falling[starts], starts, ends


def _turns(turns: Sequence[Turn]) -> list[bytes]:
    return [folded_words(turn.content) for turn in turns if turn.role != "system"]


def _joined(turns: Sequence[bytes]) -> bytes:
    return b" ".join(turn for turn in turns if turn)


def _num_words(words: bytes) -> int:
    return words.count(b" ") + 1 if words else 0


def _words(words: bytes) -> tuple[str, ...]:
    return tuple(words.decode().split(" "))


def _powers(base: int, length: int) -> np.ndarray:
    """base^0, base^1 … modulo 2^64, (length,) uint64."""
    powers = np.full(length, base, np.uint64)
    powers[0] = 1
    return np.asarray(np.cumprod(powers, dtype=np.uint64))
