"""How right one answer is, from its text: exact match, ROUGE-L, and whether it ends on the right number."""

import math
import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from importlib import import_module
from typing import Any

from g2is.errors import ConfigError

MATH_VERIFY = "math-verify"
_MOST_CHARACTERS = 4_000  # of an answer's end that it is given: what it reads of a longer one takes minutes

# Scripts that put no space between words: each of their characters counts as a word, with the marks on it.
_UNSPACED = (
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Japanese and Chinese
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
)
# Vowel signs, accents and joiners are part of a word, and no letters to Python.
_MARKS = "\u200c\u200d" + "".join(of for of in map(chr, range(0x20000)) if unicodedata.category(of) in ("Mn", "Mc"))
_WORD = re.compile(rf"[{_UNSPACED}][{_MARKS}]*|(?:(?![{_UNSPACED}])[^\W_][{_MARKS}]*)+")

_MOST_DIGITS = 300  # longer ones are no numbers that anybody meant, and Python refuses to convert the longest
_LATEX_FRACTION = re.compile(
    r"(?P<whole>\d?)\s*\\[dt]?frac\s*(?:\{(?P<sign>[-−]?)(?P<top>\d+)\}|(?P<top_digit>\d))"
    r"(?:\{(?P<bottom>\d+)\}|(?P<bottom_digit>\d))"
)
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\,)(?=\d{3})")
_LATEX_EXPONENT = re.compile(r"\^\{[^{}]*\}")
# Powers of numbers, 10^{6} and 10⁶ alike; what a power of ten is multiplied by belongs to it.
_POWER = re.compile(
    r"(?<![\w.,/⁄])(?:(?P<factor>(?:\d{1,3}(?:,\d{3})+|\d{1,18})(?:\.\d{1,18})?)\s?(?:[×x*·]|\\times|\\cdot)\s?)?"
    r"(?P<base>\d{1,9}(?:\.\d{1,9})?)"
    r"(?:\s?\^\s?(?:\{\s?(?P<braced>[-−]?\d{1,3})\s?\}|(?P<bare>[-−]?\d{1,3})(?![.,]?\d))"
    r"|(?P<raised>⁻?[⁰¹²³⁴-⁹]{1,3}))"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")
# Thousands set off by spaces or points. By plain spaces only if a group begins with 0: "120 240 360" is a list.
_THOUSANDS = re.compile(
    r"(?<![\w.,])\d{1,3}"
    r"(?:(?:[\u00a0\u2009\u202f]\d{3}){1,6}(?:\.\d{1,18})?|(?:\ \d{3}){1,6}(?:\.\d{1,18})?|(?:\.\d{3}){2,6})"
    r"(?![.,]?\d)(?!\ \d{3})"
)
_ONE_CHARACTER_FRACTION = re.compile(r"(\d?)([¼½¾⅐-⅞])")
# What a number is part of, where it touches it: in scripts without spaces, and in Korean, words only stand beside it.
_JOINS = rf"(?:(?![{_UNSPACED}\uac00-\ud7af])\w|\d)"
_NUMBER = re.compile(
    rf"(?P<sign>(?<!{_JOINS})(?<![)\]}}^%])[-−–])?"  # else it is a subtraction, a range, or an exponent
    r"(?:\\?[$€£¥]\s?(?P<inner_sign>[-−])?)?"
    rf"(?<!{_JOINS})(?<!\^)(?<!\^[-−])"  # m2, CO2 and 10^2 hold no 2
    r"(?:(?:(?P<whole>\d+)\ )?(?P<top>\d+)\s?[/⁄]\s?(?P<bottom>0*[1-9]\d*)"
    r"|(?P<decimal>(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,2}(?!\d))?))"
)


def exact_match(given: str, right: Sequence[str]) -> float:
    """1.0 if `given` is one of the `right` answers but for space around it, else 0.0."""
    return float(given.strip() in {answer.strip() for answer in right})


def rouge_l(given: str, right: Sequence[str]) -> float:
    """ROUGE-L F1, 0 to 1, against the best of the `right` answers; NaN if none of them holds a word.

    Over words without case, the whole answer as one sequence (the rougeL of rouge-score), without stemming, which
    Super-NaturalInstructions has. Words are those of any script, where rouge-score's own are English ones.
    """
    expected = [words for answer in right if (words := _words(answer))]
    if not expected:
        return math.nan
    return max(_rouge_l(_words(given), words) for words in expected)


def _rouge_l(given: Sequence[str], right: Sequence[str]) -> float:
    """The harmonic mean of what the longest common subsequence is of either side."""
    from rapidfuzz.distance import LCSseq  # milliseconds, which a loss alone need not cost

    in_both = LCSseq.similarity(given, right)
    if not in_both:
        return 0.0
    precision, recall = in_both / len(given), in_both / len(right)
    return 2 * precision * recall / (precision + recall)


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFC", text.casefold()))


def numeric_match(given: str, right: str) -> float:
    """1.0 if the last number of `given` equals that of `right`, else 0.0; NaN if `right` holds none."""
    expected = last_number(right)
    return math.nan if expected is None else float(last_number(given) == expected)


def math_match(given: str, right: str) -> float:
    """1.0 if math-verify takes what `given` ends on for what `right` says, else 0.0; NaN if it cannot read `right`.

    It reads numbers, LaTeX, sets and expressions, and compares them by algebra. Raises ConfigError as `check_judge`.
    """
    package = _math_verify()
    expected = package.parse(right[-_MOST_CHARACTERS:], parsing_timeout=None)
    if not expected:
        return math.nan
    found = package.parse(given[-_MOST_CHARACTERS:], parsing_timeout=None)
    return float(package.verify(expected, found, timeout_seconds=None))


def check_judge(numeric: str) -> None:
    """Raise ConfigError if what `evaluation.numeric` names is not installed."""
    if numeric == MATH_VERIFY:
        _math_verify()


def _math_verify() -> Any:
    try:
        return import_module("math_verify")
    except ImportError as error:
        raise ConfigError(
            f"evaluation.numeric {MATH_VERIFY}: expected the package math-verify, found none that can be imported"
            f" ({error}). Install it: pip install 'g2is[math]'"
        ) from None


def last_number(text: str) -> Fraction | None:
    r"""The last number in `text`, exactly, or None.

    Numbers are `1,234.50`, `-$5.00`, `#### 42`, `3/4`, `2 1/2`, `½`, `1e-3`, `\frac{3}{4}`, `2\frac34`, `10{,}000`.
    `7 × 10^6`, `10⁶` and `2^{10}` are what they come to, but `25⁰` and `25^0` are degrees. `2 000 000` and `2.000.000`
    are `2,000,000`. A percent sign is passed over. Digits that end a word (CO2) or are an exponent of something else
    (x^2) are no numbers.
    """
    text = _POWER.sub(_power_written_out, _THOUSANDS.sub(_joined, text))
    text = _LATEX_EXPONENT.sub("", _LATEX_COMMA.sub(",", _ONE_CHARACTER_FRACTION.sub(_written_out, text)))
    found = list(_NUMBER.finditer(_LATEX_FRACTION.sub(_latex_written_out, text)))
    last = found[-1] if found else None
    if last is None or len(last.group()) > _MOST_DIGITS:
        return None
    if last["decimal"]:
        value = Fraction(last["decimal"].replace(",", ""))
    else:
        value = Fraction(int(last["top"]), int(last["bottom"]))
        if last["whole"] and value < 1:
            value += int(last["whole"])
    return -value if last["sign"] or last["inner_sign"] else value


def _written_out(found: re.Match[str]) -> str:
    """½ as 1/2, and 2½ as 2 1/2."""
    return f"{found[1]}{' ' * len(found[1])}{unicodedata.normalize('NFKC', found[2])}"


def _joined(found: re.Match[str]) -> str:
    """2 000 000 and 2.000.000 as 2000000, 2 000.5 as 2000.5."""
    text = found[0]
    if " " in text and " 0" not in text:
        return text
    if text.count(".") > 1:
        text = text.replace(".", "")
    return "".join(character for character in text if character.isdigit() or character == ".")


def _power_written_out(found: re.Match[str]) -> str:
    """2^{10} as 1024, 7 × 10⁻² as 7/100; 3 × 2^4 is a product, and ends on 16. 25⁰ and 25^0 are degrees: 25."""
    exponent = int((found["braced"] or found["bare"] or found["raised"]).translate(_RAISED))
    base, factor = Fraction(found["base"]), (found["factor"] or "").replace(",", "")
    if base == 0 and exponent < 0:
        return found[0]
    if len(found["base"]) * abs(exponent) > _MOST_DIGITS:
        return "9" * (_MOST_DIGITS + 1)  # no number that anybody meant
    if exponent == 0:
        return factor or found["base"]
    if not factor or base == 10:
        before = found.string[max(found.start() - 2, 0) : found.start()]
        apart = "·" if re.fullmatch(r"\d\s", before) else ""  # 7 10^-2 is no mixed number
        return f"{apart}{base**exponent * Fraction(factor or 1)}"
    return f"{found[0][: found.start('base') - found.start()]}{base**exponent}"


def _latex_written_out(found: re.Match[str]) -> str:
    r"""\frac{3}{4} as 3/4, 2\frac{3}{4} as 2 3/4, \frac{-3}{4} as -3/4."""
    space = " " * len(found["whole"])
    top, bottom = found["top"] or found["top_digit"], found["bottom"] or found["bottom_digit"]
    return f"{found['whole']}{space}{found['sign'] or ''}{top}/{bottom}"
