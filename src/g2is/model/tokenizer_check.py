"""Whether a tokenizer can be worked with: it makes tokens, not too many, in a time that ends.

A tokenizer.json brings regular expressions and replacements of its own. Some never end, some write a million letters
for one, and where its library gives up it ends the process' Python with an error that nothing catches.
"""

import os
import string
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from g2is.errors import ModelError, first_line

_LETTERS = string.printable + "éßжλ中の한ا"
_ENDS = string.punctuation + "\0\n1é"
_RUN = 48  # letters on end, on which an expression that tries every way of cutting them does not come to an end
_MOST_TOKENS = 256  # of one letter; the longest that Unicode spells out is eighteen letters, some of three bytes
_SECONDS = 20.0  # of what takes a sound tokenizer some milliseconds


def check_tokenizer(tokenizer: Any, where: str) -> None:
    """Raise ModelError naming `where` if the tokenizer makes no tokens of any letter, too many of one, or does not end.

    It is tried on every printable ASCII character and some others, each alone and in a row.
    """
    found: list[str] = []

    def probe() -> None:
        try:
            found.append(_fault(tokenizer))
        except BaseException as error:  # a panic of its library is no Exception
            found.append(f"found that it gives up: {_reason(error)}")

    with _no_backtrace():
        trial = threading.Thread(target=probe, daemon=True)
        trial.start()
        trial.join(_SECONDS)
    fault = found[0] if found else f"found one that had not finished a few hundred letters after {_SECONDS:.0f} s"
    if fault:
        raise ModelError(
            f"{where}: expected a tokenizer that makes tokens of any text, {fault}. Copy or download its files again,"
            " or take another model's"
        )


@contextmanager
def giving_up(where: str) -> Iterator[None]:
    """A tokenizer's library that gives up on a text is a ModelError naming `where`, not an end of the process."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelError(
            f"{where}: expected a tokenizer that makes tokens of any text, found that its library gives up on one of"
            f" these: {_reason(error)}. Copy or download its files again, or leave the text out"
        ) from None


def _fault(tokenizer: Any) -> str:
    """What is wrong with the tokenizer, empty if nothing is."""
    makes_any = False
    for letter in _LETTERS:
        num_tokens = len(_tokens(tokenizer, letter))
        if num_tokens > _MOST_TOKENS:
            return f"found one that makes {num_tokens:,} tokens of {letter!r}"
        makes_any |= num_tokens > 0
    if not makes_any:
        return "found one that makes none of any letter"
    for letter in _LETTERS:
        _tokens(tokenizer, letter * _RUN + "\0")
    for run in ("word " * _RUN, "e" * _RUN, "1" * _RUN, " " * _RUN):
        for end in _ENDS:
            _tokens(tokenizer, run + end)
    return ""


def _tokens(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _reason(error: BaseException) -> str:
    return first_line(error).rpartition("error: ")[2]


@contextmanager
def _no_backtrace() -> Iterator[None]:
    """What a library of Rust writes to the process' standard error as it gives up is dropped."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
