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
from itertools import chain, repeat

import numpy as np

from g2is.examples.read import Example
from g2is.examples.schemas import Message

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
_KEY = b"g2is overlap 1"
_BASE = 0x9E3779B97F4A7C15  # odd: it has an inverse modulo 2^64
_INVERSE = pow(_BASE, -1, 1 << 64)
_SLOTS_A_GRAM = 8


@dataclass(frozen=True)
class Overlap:
    """The test example that a row overlaps with, by `line` and `id`, and the first run of `words` they share."""

    line: int
    id: str
    words: tuple[str, ...]


def words_of(text: str) -> list[bytes]:
    """The words of `text`, folded, in UTF-8.

    >>> [word.decode() for word in words_of("Don't SHOUT: 1,000 Äpfel_x 東京へ")]
    ['don', 't', 'shout', '1', '000', 'äpfel', 'x', '東', '京', 'へ']
    """
    if text.isascii():
        return text.encode().translate(_ASCII_WORDS).split()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return folded.translate(_SEPARATED).encode().split()


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

    Holds 16 bytes a run beside the test set's words. Runs are looked up by a 64-bit hash and then compared word by
    word: a collision neither reports nor hides an overlap.
    """

    def __init__(self, examples: Iterable[Example], num_words: int = NUM_WORDS) -> None:
        """Index the test set's `examples`. Raises ValueError if `num_words` is below 1."""
        if num_words < 1:
            raise ValueError(f"expected num_words of at least 1, found {num_words}")
        self._num_words = num_words
        self._places: list[tuple[int, str]] = []  # line and id, example by example
        self._words: list[bytes] = []  # of all long examples, one after the other
        self._ends: dict[int, int] = {}  # where each long example's words end there
        self._number_of: dict[bytes, int] = {}  # from 1; 0 is any word that no long example has
        self._word_hashes = np.zeros(1, np.uint64)
        self._short: dict[tuple[bytes, ...], int] = {}
        self._powers = (np.empty(0, np.uint64), np.empty(0, np.uint64))
        long: list[tuple[int, list[bytes]]] = []
        for number, example in enumerate(examples):
            self._places.append((example.line, example.id))
            words = list(chain.from_iterable(_turns(example.messages)))
            if len(words) >= num_words:
                long.append((number, words))
            elif words:
                self._short.setdefault(tuple(words), number)
        for word in chain.from_iterable(words for _, words in long):
            self._number_of.setdefault(word, len(self._number_of) + 1)
        self._word_hashes = np.array([0, *map(_hash, self._number_of)], np.uint64)
        starts, hashes, owners = [], [], []
        for number, words in long:
            of_runs = self._run_hashes(words)
            hashes.append(of_runs)
            starts.append(np.arange(len(self._words), len(self._words) + len(of_runs), dtype=np.int32))
            owners.append(np.full(len(of_runs), number, np.int32))
            self._words += words
            self._ends[number] = len(self._words)
        all_hashes = np.concatenate([np.empty(0, np.uint64), *hashes])
        order = np.argsort(all_hashes, kind="stable")  # the first example that has a run comes first
        self._hashes = all_hashes[order]
        self._starts = np.concatenate([np.empty(0, np.int32), *starts])[order]
        self._owners = np.concatenate([np.empty(0, np.int32), *owners])[order]
        # most runs of a row are in no test example: one look at a table of bits says so
        bits = max(10, (_SLOTS_A_GRAM * len(all_hashes)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._taken = np.zeros(1 << bits, bool)
        self._taken[all_hashes >> self._shift] = True

    def find(self, messages: Sequence[Message]) -> Overlap | None:
        """The first overlap of a row's turns, (role, content) pairs, with the test set; None if there is none."""
        turns = _turns(messages)
        row = list(chain.from_iterable(turns))
        if self._short:
            for candidate in (row, *turns):
                if len(candidate) < self._num_words and (number := self._short.get(tuple(candidate))) is not None:
                    return self._overlap(number, candidate)
        if len(row) < self._num_words:
            return None
        hashes = self._run_hashes(row)
        candidates = self._taken[hashes >> self._shift].nonzero()[0]
        if not len(candidates):
            return None
        first = np.searchsorted(self._hashes, hashes[candidates])
        last = np.searchsorted(self._hashes, hashes[candidates], side="right")
        for i in (first < last).nonzero()[0].tolist():
            at = int(candidates[i])
            for known in range(first[i], last[i]):
                length = self._shared_words(row, at, known)
                if length >= self._num_words:
                    return self._overlap(int(self._owners[known]), row[at : at + length])
        return None

    def _overlap(self, number: int, words: list[bytes]) -> Overlap:
        return Overlap(*self._places[number], tuple(word.decode() for word in words))

    def _shared_words(self, row: list[bytes], at: int, known: int) -> int:
        """How many words from `at` on are those from the known run's start on, within its example."""
        start, number = int(self._starts[known]), int(self._owners[known])
        shared = 0
        for mine, theirs in zip(row[at:], self._words[start : self._ends[number]], strict=False):
            if mine != theirs:
                break
            shared += 1
        return shared

    def _run_hashes(self, words: list[bytes]) -> np.ndarray:
        """A hash of each run of `num_words` words, (len(words) - num_words + 1,) uint64, wherever the run stands."""
        if len(self._powers[0]) < len(words):
            length = 2 * len(words)
            self._powers = (_powers(_INVERSE, length), _powers(_BASE, length))
        falling, rising = self._powers
        numbers = np.fromiter(map(self._number_of.get, words, repeat(0)), np.int32, len(words))
        sums = np.zeros(len(words) + 1, np.uint64)
        np.cumsum(self._word_hashes[numbers] * falling[: len(words)], out=sums[1:])
        differences = sums[self._num_words :] - sums[: -self._num_words]
        return np.asarray(differences * rising[: len(differences)])


def _turns(messages: Sequence[Message]) -> list[list[bytes]]:
    return [words_of(content) for role, content in messages if role != "system"]


def _hash(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8, key=_KEY).digest(), "little")


def _powers(base: int, length: int) -> np.ndarray:
    """base^0, base^1 … modulo 2^64, (length,) uint64."""
    powers = np.full(length, base, np.uint64)
    powers[0] = 1
    return np.asarray(np.cumprod(powers, dtype=np.uint64))
