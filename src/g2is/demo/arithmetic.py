"""Skills with numbers: each draws one question and its answer."""

from g2is.demo.dice import Dice, Exchange


def addition(dice: Dice) -> Exchange:
    """The sum of two numbers."""
    a, b = dice.number(2), dice.number(2)
    question = dice.pick((f"What is {a} + {b}?", f"Work out {a} + {b}.", f"Find the sum {a} + {b}."))
    return question, f"{a} + {b} = {a + b}."


def subtraction(dice: Dice) -> Exchange:
    """The difference of two numbers, never negative."""
    a, b = sorted((dice.number(2), dice.number(2)), reverse=True)
    question = dice.pick((f"What is {a} - {b}?", f"Work out {a} - {b}.", f"Find the difference {a} - {b}."))
    return question, f"{a} - {b} = {a - b}."


def times_table(dice: Dice) -> Exchange:
    """A digit times a digit."""
    a, b = dice.between(2, 9), dice.between(2, 9)
    question = dice.pick((f"What is {a} * {b}?", f"Work out {a} * {b}.", f"Find the product {a} * {b}."))
    return question, f"{a} * {b} = {a * b}."


def carrying(dice: Dice) -> Exchange:
    """What is carried from the last column when two numbers are added, or one is multiplied by a digit."""
    a = dice.number(2, 2)
    if dice.between(0, 1):
        b = dice.number(2, 2)
        problem, worked = f"{a} + {b}", f"{a % 10} + {b % 10} = {carried(a % 10 + b % 10)}"
    else:
        b = dice.between(2, 9)
        problem, worked = f"{a} * {b}", f"{a % 10} * {b} = {carried(a % 10 * b)}"
    question = dice.pick(
        (
            f"What is carried in {problem}?",
            f"What do the last digits of {problem} carry?",
            f"Name the carry in {problem}.",
        )
    )
    return question, worked


def adding_on_paper(dice: Dice) -> Exchange:
    """The sum of two numbers of two digits, column by column."""
    a, b = dice.number(2, 2), dice.number(2, 2)
    return _on_paper(dice, f"{a} + {b}"), worked_sum(a, b)


def multi_digit_multiplication(dice: Dice) -> Exchange:
    """A number of two digits times a digit, on paper: times table, carrying and adding at once."""
    a, b = dice.number(2, 2), dice.between(2, 9)
    return _on_paper(dice, f"{a} * {b}"), worked_product(a, b)


def comparing(dice: Dice) -> Exchange:
    """The larger or the smaller of two numbers."""
    a, b = dice.number(3, 2), dice.number(3, 2)
    b += a == b
    word = dice.pick(("larger", "smaller"))
    question = dice.pick((f"Which is {word}, {a} or {b}?", f"Compare {a} and {b}. Which one is {word}?"))
    first, second = sorted((a, b), reverse=word == "larger")
    return question, f"{first} is {word} than {second}."


def halving(dice: Dice) -> Exchange:
    """Half of an even number."""
    half = dice.number(2)
    question = dice.pick((f"What is half of {2 * half}?", f"Halve {2 * half}.", f"Divide {2 * half} by two."))
    return question, f"Half of {2 * half} is {half}."


def rounding(dice: Dice) -> Exchange:
    """The ten nearest to a number."""
    a = dice.number(3, 2)
    question = dice.pick((f"Round {a} to tens.", f"What is {a} to the nearest ten?", f"About how many tens is {a}?"))
    return question, f"{a} is about {(a + 5) // 10 * 10}."


def place_value(dice: Dice) -> Exchange:
    """How many hundreds, tens and ones a number has."""
    a = dice.number(3, 3)
    question = dice.pick((f"Take {a} apart.", f"Which places does {a} have?", f"Write {a} as hundreds, tens and ones."))
    return question, f"{a // 100} hundreds, {a // 10 % 10} tens, {a % 10} ones."


def carried(total: int) -> str:
    """A column's total and what it carries into the next column."""
    return f"{total}, so {total // 10 if total >= 10 else 'nothing'} is carried."


def worked_sum(a: int, b: int) -> str:
    """The steps of adding two numbers of two digits."""
    return _worked(f"{a} + {b}", "+", (a % 10, b % 10), (a // 10, b // 10), a % 10 + b % 10, a // 10 + b // 10)


def worked_product(a: int, digit: int) -> str:
    """The steps of a two-digit number times a digit."""
    return _worked(f"{a} * {digit}", "*", (a % 10, digit), (a // 10, digit), a % 10 * digit, a // 10 * digit)


def _worked(problem: str, sign: str, last: tuple[int, int], first: tuple[int, int], ones: int, tens: int) -> str:
    """The last column, the first column, the carry if there is one, and the result."""
    steps = [f"{last[0]} {sign} {last[1]} = {carried(ones)}", f"{first[0]} {sign} {first[1]} = {tens}."]
    if ones >= 10:
        steps.append(f"{tens} + {ones // 10} = {tens + ones // 10}.")
    return " ".join([*steps, f"{problem} = {10 * tens + ones}."])


def _on_paper(dice: Dice, problem: str) -> str:
    return dice.pick((f"What is {problem} on paper?", f"Work out {problem} on paper.", f"Show {problem} on paper."))
