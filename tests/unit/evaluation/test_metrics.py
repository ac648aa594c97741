"""Each metric on the texts it could trip over."""

import math
import sys
from fractions import Fraction

import numpy as np
import pytest

from g2is.errors import ConfigError
from g2is.evaluation.metrics import check_judge, exact_match, last_number, math_match, numeric_match, rouge_l


@pytest.mark.parametrize(
    ("given", "right", "expected"),
    [
        (" a b\n", ["a b"], 1),
        ("a  b", ["a b"], 0),
        ("A b", ["a b"], 0),
        ("", ["a b"], 0),
        ("two", ["one", " two "], 1),
        ("three", ["one", "two"], 0),
        ("naïve 東京", ["naïve 東京"], 1),
    ],
)
def test_an_answer_is_exact_if_it_is_one_of_the_right_ones_but_for_space_around_it(
    given: str, right: list[str], expected: float | None
) -> None:
    assert exact_match(given, right) == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("no number here", None),
        ("#### 42", 42),
        ("####42", 42),
        ("1,234", 1234),
        ("1,234,567.50 in all", Fraction("1234567.5")),
        ("$5.00", 5),
        ("It costs $1,000.", 1000),
        ("-$5.00", -5),
        ("$-5", -5),
        (r"\$18", 18),
        ("€ 7", 7),
        ("-3", -3),
        ("x = -3.", -3),
        ("\u22127 degrees", -7),
        ("10 - 3", 3),
        ("from 3-5", 5),
        ("5-3", 3),
        ("3/4", Fraction(3, 4)),
        ("-1/2", Fraction(-1, 2)),
        ("3 / 4 of it", Fraction(3, 4)),
        ("2 1/2 cups", Fraction(5, 2)),
        ("½", Fraction(1, 2)),
        ("2½ cups", Fraction(5, 2)),
        ("-½", Fraction(-1, 2)),
        (r"\boxed{\frac{3}{4}}", Fraction(3, 4)),
        (r"\frac34", Fraction(3, 4)),
        (r"2\frac{3}{4}", Fraction(11, 4)),
        (r"2 \frac34", Fraction(11, 4)),
        (r"\frac{-3}{4}", Fraction(-3, 4)),
        (r"-\dfrac{3}{4}", Fraction(-3, 4)),
        (r"10{,}000", 10000),
        (r"$10,\!000", 10000),
        (r"1{,}234{,}567", 1234567),
        ("10^{2}", 100),
        ("3^{-2}", Fraction(1, 9)),
        ("about 7 × 10^6 people", 7_000_000),
        (r"$7.5 \times 10^{-3}$", Fraction(75, 10_000)),
        ("6.02·10²³", 602 * 10**21),
        ("10⁻²", Fraction(1, 100)),
        ("1,200 * 10^3", 1_200_000),
        ("1.5^2", Fraction(9, 4)),
        ("-2^3", -8),
        ("3 × 2^4", 16),
        ("25⁰C", 25),
        ("The angle is 90^{0}.", 90),
        ("90^0", 90),
        ("7 × 10^0", 7),
        ("2^0.5", 5),
        ("2^10,000", 0),
        ("3/4 × 10^3", 1000),
        ("7 10^-2", Fraction(1, 100)),
        ("0^-1", 0),
        ("10^999", None),
        ("999999999^{999} or 3^-999", None),
        ("2 000 000", 2_000_000),
        ("10 000 €", 10_000),
        ("2\u202f500", 2500),
        ("2\u00a0500 km", 2500),
        ("2.000.000", 2_000_000),
        ("2 000 000.50", Fraction(4_000_001, 2)),
        ("5 120", 120),
        ("120 240 360", 360),
        ("2.000", 2),
        ("1 2 3", 3),
        ("50%-60%", 60),
        ("5/0", 0),
        (".5", Fraction(1, 2)),
        ("1e-3", Fraction(1, 1000)),
        ("12.", 12),
        ("50%", 50),
        ("7 x .5 = 3.5", Fraction(7, 2)),
        ("1764/12 = 147 dozens", 147),
        ("1, 2, 3", 3),
        ("1,23", 23),
        ("12 m2", 12),
        ("12 m²", 12),
        ("10^2", 100),
        ("10^-2", Fraction(1, 100)),
        ("CO2", None),
        ("H_2 and x_1", None),
        *(
            (text, 42)
            for text in (
                "答案是42",
                "共42个",
                "答えは42です",
                "답은42입니다",
                "คำตอบคือ42",
            )
        ),
        ("第3题答案为−5", -5),
        ("3×4", 4),
        ("12÷4", 4),
        ("площадь 25 м2", 25),
        ("30 СО2", 30),
        ("٣-٥", 5),
        ("x²-5", 5),
        ("๔๒", 42),
        ("\uff14\uff12", 42),
        ("٤٢", 42),
        ("5kg", 5),
        ("007", 7),
        ("9" * 5000, None),
        ("1e99999999", 1),  # and not a number that fills the memory
    ],
)
def test_the_last_number_of_a_text(text: str, number: str | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("given", "right", "expected"),
    [
        ("So she has $1,234.00 left.", "... \n#### 1234", 1),
        ("0.5", "1/2", 1),
        ("The answer is 42", "42.0", 1),
        ("The answer is -42", "42", 0),
        ("First 42, then 43", "42", 0),
        ("", "42", 0),
        ("forty-two", "42", 0),
    ],
)
def test_numbers_match_if_the_last_ones_are_equal(given: str, right: str, expected: float | None) -> None:
    assert numeric_match(given, right) == expected


def test_numbers_match_nothing_where_the_right_answer_has_none() -> None:
    assert math.isnan(numeric_match("42", "yes"))


def test_rouge_l_is_f1_over_the_longest_common_subsequence_of_words() -> None:
    # 3 words in common, of 4 given and 6 right: 2 · ¾ · ½ / (¾ + ½)
    assert rouge_l("The cat, SAT down", ["the cat on a mat sat"]) == pytest.approx(0.6)
    assert rouge_l("", ["the cat"]) == 0
    assert rouge_l("b a", ["a b"]) == pytest.approx(0.5)
    assert rouge_l("b\na", ["a\nb"]) == pytest.approx(0.5)  # the order of lines counts, as in rougeL


@pytest.mark.parametrize(
    ("given", "right", "value"),
    [
        # Lin, 2004, section 3: the reference and three candidates
        ("police killed the gunman", "police killed the gunman", 1.0),
        ("police kill the gunman", "police killed the gunman", 3 / 4),
        ("the gunman kill police", "police killed the gunman", 1 / 2),
        ("the gunman police killed", "police killed the gunman", 1 / 2),
        # by the definition, 2PR / (P + R): what both have, of 5 given and of 3 right; of 1 and of 7; none
        ("a b x c y", "a b c", 2 * (3 / 5) * 1 / (3 / 5 + 1)),
        ("seven", "one two three seven five six eight", 2 * 1 * (1 / 7) / (1 + 1 / 7)),
        ("x y z", "a b c", 0.0),
        # a word counts once for each time it stands on both sides, whatever stands between; digits are words
        ("the the the", "the cat the", 2 * (2 / 3) * (2 / 3) / (2 / 3 + 2 / 3)),
        ("12 apples, 3 pears", "12 pears", 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        ("state-of-the-art!", "State of the art", 1.0),
        ("running runs", "run runs", 1 / 2),  # no stemming
    ],
)
def test_rouge_l_has_the_values_of_its_definition(given: str, right: str, value: float) -> None:
    assert rouge_l(given, [right]) == pytest.approx(value, rel=1e-12)


def test_rouge_l_of_long_answers_is_that_of_a_plain_table() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        given, right = (rng.choice(["a", "b", "c", "d", "é", "東"], rng.integers(1, 200)).tolist() for _ in range(2))
        lengths = np.zeros((len(given) + 1, len(right) + 1), int)
        for i, j in np.ndindex(len(given), len(right)):
            same = given[i] == right[j]
            lengths[i + 1, j + 1] = lengths[i, j] + 1 if same else max(lengths[i, j + 1], lengths[i + 1, j])
        in_both = int(lengths[-1, -1])
        expected = 2 * in_both / (len(given) + len(right))
        assert rouge_l(" ".join(given), [" ".join(right)]) == pytest.approx(expected, rel=1e-12)


def test_rouge_l_takes_the_best_of_several_right_answers() -> None:
    assert rouge_l("two words", ["nothing alike", "two other words", "two words"]) == 1


def test_rouge_l_knows_words_of_any_script_and_is_undefined_without_any() -> None:
    assert rouge_l("Москва большая", ["москва большая"]) == 1
    assert rouge_l("東京は大", ["東京は小"]) == pytest.approx(0.75)
    assert rouge_l("दिन", ["दान"]) == 0  # day and donation, apart by a vowel sign
    assert rouge_l("हिन्दी भाषा", ["यह हिन्दी भाषा"]) == pytest.approx(0.8)
    assert rouge_l("வணக்கம் தமிழ்", ["தமிழ்"]) == pytest.approx(2 / 3)
    assert rouge_l("สวัสดี", ["สวัสดู"]) == pytest.approx(0.75)
    assert rouge_l("nai\u0308ve", ["naïve"]) == 1
    assert rouge_l("naïve", ["naive"]) == 0
    assert math.isnan(rouge_l("x", ["!?", "😀"]))


def test_rouge_l_of_english_is_that_of_rouge_score_s_own_words() -> None:
    RougeScorer = pytest.importorskip("rouge_score.rouge_scorer", reason="rouge-score is not installed").RougeScorer

    given = "Chess-boxing fights, since 2003: have been organised!"
    right = "Chess boxing fights were organised since 2003."
    assert rouge_l(given, [right]) == RougeScorer(["rougeL"]).score(right, given)["rougeL"].fmeasure


@pytest.mark.parametrize(
    ("given", "right", "expected"),
    [
        (r"So it is $\frac{2}{4}$.", "0.5", 1),
        (r"The answer is \boxed{x^2-1}", r"\boxed{(x-1)(x+1)}", 1),
        (r"\boxed{\{1,2\}}", r"\boxed{\{2,1\}}", 1),
        ("The answer is 42.", "42", 1),
        ("The answer is 43.", "42", 0),
        ("", "42", 0),
    ],
)
def test_math_verify_reads_what_a_last_number_cannot_say(given: str, right: str, expected: float) -> None:
    pytest.importorskip("math_verify", reason="math-verify is not installed")
    assert math_match(given, right) == expected


def test_math_verify_where_it_is_not_installed_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)
    check_judge("exact")
    with pytest.raises(ConfigError, match=r"evaluation\.numeric math-verify: expected the package .*g2is\[math\]"):
        check_judge("math-verify")
