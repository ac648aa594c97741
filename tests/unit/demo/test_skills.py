"""The sample pool and target: the same bytes everywhere, right answers, nothing twice."""

import calendar
import datetime
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from g2is.demo.dice import WORDS, Dice
from g2is.demo.skills import (
    SKILLS,
    TARGET_SKILL,
    evaluation_rows,
    pool_rows,
    target_rows,
    write_pool,
    write_sample,
    write_target,
)
from g2is.errors import InputError

# Change these only together with a deliberate change of the sample: reports and figures refer to it.
POOL_SHA256 = "9f2467f7075292986d282bccd5ecf3131db370e8aca7ab4b214b8f024b82bfa4"
TEST_SHA256 = "ac16f94769c88ed29cce9f47c0e93cf1cc72a15b6b02bec6ff518da2cf6420f3"
TARGET_SHA256 = "8fa5a161ea7cb1d2780508048bf8b044b38cb55b29a259a5e73c66372549eee0"


def numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", text)]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text)


def check_equation(question: str, answer: str, value: int) -> None:
    """The answer names both numbers of the question and then the value."""
    *terms, result = numbers(answer)
    assert sorted(terms) == sorted(numbers(question))
    assert result == value


def check_addition(question: str, answer: str) -> None:
    check_equation(question, answer, sum(numbers(question)))


def check_subtraction(question: str, answer: str) -> None:
    larger, smaller = sorted(numbers(question), reverse=True)
    check_equation(question, answer, larger - smaller)
    assert smaller + numbers(answer)[-1] == larger


def check_times_table(question: str, answer: str) -> None:
    check_equation(question, answer, math.prod(numbers(question)))


def check_carrying(question: str, answer: str) -> None:
    first, second = numbers(question)
    total = int(str(first)[-1]) * second if "*" in question else int(str(first)[-1]) + int(str(second)[-1])
    carry = str(total)[:-1] or "nothing"
    assert answer.endswith(f"= {total}, so {carry} is carried.")


def check_comparing(question: str, answer: str) -> None:
    larger, smaller = sorted(numbers(question), reverse=True)
    assert larger != smaller
    expected = [larger, smaller] if "larger" in question else [smaller, larger]
    assert numbers(answer) == expected
    assert ("larger" in question) == ("larger" in answer)


def check_worked(question: str, answer: str, sign: str) -> None:
    """Each step of the work holds, the carry is used, and the last line is the problem's own."""
    first, second = numbers(question)
    steps = re.findall(r"(\d+) ([+*]) (\d+) = (\d+)", answer)
    for left, operation, right, result in steps:
        assert int(result) == (int(left) * int(right) if operation == "*" else int(left) + int(right))
    carrying = re.search(r"= (\d+), so (\w+) is carried", answer)
    assert carrying is not None
    total, carry = carrying.groups()
    assert carry == (total[:-1] or "nothing")
    assert len(steps) == (3 if carry == "nothing" else 4)
    assert carry == "nothing" or steps[2][1:3] == ("+", carry)
    assert steps[-1][:3] == (str(first), sign, str(second))


def check_multi_digit_multiplication(question: str, answer: str) -> None:
    check_worked(question, answer, "*")


def check_adding_on_paper(question: str, answer: str) -> None:
    check_worked(question, answer, "+")


def check_halving(question: str, answer: str) -> None:
    (number,) = numbers(question)
    assert numbers(answer) == [number, number // 2]
    assert number % 2 == 0


def check_rounding(question: str, answer: str) -> None:
    (number,) = numbers(question)
    _, near = numbers(answer)
    assert near % 10 == 0
    assert -5 < near - number <= 5


def check_place_value(question: str, answer: str) -> None:
    hundreds, tens, ones = numbers(answer)
    assert [100 * hundreds + 10 * tens + ones] == numbers(question)


def check_weekdays(question: str, answer: str) -> None:
    (later,) = numbers(question)
    first, last = re.findall(r"[A-Z]\w+day", answer)
    begin = datetime.date(2024, 1, 1)  # a Monday
    while begin.strftime("%A") != first:
        begin += datetime.timedelta(days=1)
    assert first in question
    assert (begin + datetime.timedelta(days=later)).strftime("%A") == last


def check_months(question: str, answer: str) -> None:
    (later,) = numbers(question)
    first, last = (list(calendar.month_name).index(name) for name in re.findall(r"[A-Z]\w+", answer))
    assert calendar.month_name[first] in question
    assert (first + later - last) % 12 == 0


def check_clock(question: str, answer: str) -> None:
    begin, end = (datetime.datetime.strptime(text, "%H:%M") for text in re.findall(r"\d+:\d\d", answer))
    assert f"{begin.hour}:{begin.minute:02}" in question
    assert f"{int((end - begin).total_seconds()) // 60} minutes" in question


def check_units(question: str, answer: str) -> None:
    equation = re.fullmatch(r"(\d+) (\w+) = (\d+) (\w+)\.", answer)
    assert equation is not None
    number, large, result, small = equation.groups()
    in_smallest = {"km": 10**6, "m": 1000, "cm": 10, "mm": 1, "kg": 1000, "g": 1, "h": 3600, "min": 60, "s": 1}
    assert numbers(question) == [int(number)]
    assert {large, small} < set(re.findall(r"[a-z]+", question))
    assert int(number) * in_smallest[large] == int(result) * in_smallest[small]


def check_reversing(question: str, answer: str) -> None:
    spelled, backwards = answer.split(": ")
    assert "".join(reversed(backwards)) in words(question)
    assert spelled.replace(" ", "") == backwards


def check_sorting_letters(question: str, answer: str) -> None:
    letters = answer.split(" ")
    assert letters == sorted(letters)
    assert any(Counter(word) == Counter(letters) for word in words(question) if word in WORDS)


def check_counting_letters(question: str, answer: str) -> None:
    spelled, statement = answer.split(": ")
    word = spelled.replace(" ", "")
    (letter,) = [token for token in words(question) if len(token) == 1]
    assert word in words(question)
    count = sum(character == letter for character in word)
    assert statement == f"{letter} is there {count} {'time' if count == 1 else 'times'}."


def check_upper_case(question: str, answer: str) -> None:
    assert answer.isupper()
    assert answer.lower() in question


def check_repeating(question: str, answer: str) -> None:
    (times,) = numbers(question)
    (word,) = set(answer.split(" "))
    assert word in words(question)
    assert answer.count(word) == times


def check_vowels(question: str, answer: str) -> None:
    (word,) = [word for word in words(question) if word in WORDS]
    assert re.sub("[^aeiou]", "", word) == answer.replace(" ", "")


def check_alphabetical(question: str, answer: str) -> None:
    first, last = answer.split(" ")
    assert first <= last
    assert {first, last} == {word for word in words(question) if word in WORDS}


CHECKS: dict[str, Callable[[str, str], None]] = {
    name.removeprefix("check_"): check for name, check in globals().items() if name.removeprefix("check_") in SKILLS
}


@pytest.mark.parametrize("skill", SKILLS)
def test_every_answer_is_right(skill: str) -> None:
    dice = Dice(7)
    for _ in range(500):
        CHECKS[skill](*SKILLS[skill].pose(dice))


@pytest.mark.parametrize("skill", SKILLS)
def test_every_skill_is_asked_in_two_ways_or_more(skill: str) -> None:
    dice = Dice(7)
    questions = [SKILLS[skill].pose(dice)[0] for _ in range(100)]
    assert len({question.split(" ")[0] for question in questions}) >= 2


def test_the_sample_is_the_same_bytes_wherever_it_is_generated(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample")
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "sample").iterdir()}
    assert hashes == {"pool.jsonl": POOL_SHA256, "target.jsonl": TARGET_SHA256, "test.jsonl": TEST_SHA256}


def test_rows_are_read_back_as_they_were_drawn(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=50, seed=3)
    write_target(tmp_path / "target.jsonl", num_rows=5, seed=3)
    assert [json.loads(line) for line in (tmp_path / "pool.jsonl").open()] == pool_rows(50, seed=3)
    assert [json.loads(line) for line in (tmp_path / "target.jsonl").open()] == target_rows(5, seed=3)


def test_another_seed_draws_other_rows() -> None:
    assert pool_rows(50, seed=1) != pool_rows(50, seed=2)


def test_more_target_rows_begin_with_the_same_rows() -> None:
    assert target_rows(100)[:24] == target_rows(24)


def test_no_id_and_no_question_comes_twice() -> None:
    rows = pool_rows() + target_rows() + evaluation_rows()
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["messages"][0]["content"] for row in rows}) == len(rows)


def test_the_pool_holds_every_skill_equally_but_no_composite() -> None:
    counts = Counter(row["task"] for row in pool_rows())
    assert set(counts) == {name for name, skill in SKILLS.items() if not skill.parts}
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len(pool_rows()) == 2_000


def test_the_target_asks_for_a_composite_whose_parts_are_in_the_pool() -> None:
    assert {row["task"] for row in target_rows()} == {TARGET_SKILL}
    assert set(SKILLS[TARGET_SKILL].parts) < {row["task"] for row in pool_rows()}


def test_the_test_rows_ask_none_of_the_problems_of_the_target() -> None:
    answers = [row["messages"][1]["content"] for row in target_rows() + evaluation_rows()]
    assert len(set(answers)) == len(answers) == 124


def test_asking_for_more_rows_than_there_are_questions_names_the_skill() -> None:
    with pytest.raises(InputError, match=r"'times_table' has about .* different questions"):
        pool_rows(10_000)


def test_dice_draw_both_ends_and_nothing_beyond() -> None:
    dice = Dice(0)
    assert {dice.between(3, 6) for _ in range(200)} == {3, 4, 5, 6}
    assert {len(str(dice.number(4, 2))) for _ in range(200)} == {2, 3, 4}
