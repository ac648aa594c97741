"""Skills with numbers: each draws one question and its answer."""

from g2is.demo.dice import Dice, Exchange


def addition(dice: Dice) -> Exchange:
    """The sum of two numbers."""
    a, b = dice.number(4, 2), dice.number(4, 2)
    question = dice.pick((f"What is {a} + {b}?", f"Add {a} and {b}.", f"Find the sum of {a} and {b}."))
    return question, f"{a} + {b} = {a + b}."


def subtraction(dice: Dice) -> Exchange:
    """The difference of two numbers, never negative."""
    a, b = sorted((dice.number(3, 2), dice.number(3, 2)), reverse=True)
    question = dice.pick((f"What is {a} - {b}?", f"Subtract {b} from {a}.", f"Take {b} away from {a}."))
    return question, f"{a} - {b} = {a - b}."


def carrying(dice: Dice) -> Exchange:
    """What is carried from the last column when two numbers are added, or one is multiplied by a digit."""
    if dice.between(0, 1):
        a, b = dice.number(3, 2), dice.number(3, 2)
        verb, worked, total = "adding", f"{a % 10} + {b % 10}", a % 10 + b % 10
    else:
        a, b = dice.number(3, 2), dice.between(2, 9)
        verb, worked, total = "multiplying", f"{a % 10} * {b}", a % 10 * b
    question = dice.pick(
        (
            f"What is carried when {verb} the last digits of {a} and {b}?",
            f"When {verb} {a} and {b}, what do the last digits carry?",
            f"Name the carry when {verb} the last digits of {a} and {b}.",
        )
    )
    return question, f"{worked} = {total}, so {carry_of(total)} is carried."


def multiplication(dice: Dice) -> Exchange:
    """A number times a digit."""
    a, b = dice.number(3, 2), dice.between(2, 9)
    question = dice.pick((f"What is {a} * {b}?", f"Multiply {a} by {b}.", f"Find the product of {a} and {b}."))
    return question, f"{a} * {b} = {a * b}."


def multi_digit_multiplication(dice: Dice) -> Exchange:
    """Two numbers of two digits multiplied on paper: multiplication, carrying and addition at once."""
    a, b = dice.number(2, 2), dice.number(2, 2)
    question = dice.pick(
        (
            f"Work out {a} * {b} step by step.",
            f"Multiply {a} by {b} on paper.",
            f"Show how to find the product of {a} and {b}.",
        )
    )
    steps = [step for digit in (b % 10, b // 10) for step in _times_digit(a, digit)]
    return question, " ".join([*steps, f"{a * (b % 10)} + {a * (b // 10)}0 = {a * b}."])


def comparing(dice: Dice) -> Exchange:
    """The larger or the smaller of two numbers."""
    a, b = dice.number(4, 2), dice.number(4, 2)
    b += a == b
    word = dice.pick(("larger", "smaller"))
    question = dice.pick((f"Which is {word}, {a} or {b}?", f"Compare {a} and {b}. Which one is {word}?"))
    first, second = sorted((a, b), reverse=word == "larger")
    return question, f"{first} is {word} than {second}."


def carry_of(total: int) -> str:
    """What a column's total carries into the next column, in words where it is nothing."""
    return str(total // 10) if total >= 10 else "nothing"


def _times_digit(a: int, digit: int) -> list[str]:
    """The steps of a two-digit number times a digit."""
    ones, carry = a % 10 * digit, a % 10 * digit // 10
    tens = f"{a // 10} * {digit}" + (f" + {carry}" if carry else "")
    return [
        f"{a % 10} * {digit} = {ones}, so {carry_of(ones)} is carried.",
        f"{tens} = {a // 10 * digit + carry}.",
        f"{a} * {digit} = {a * digit}.",
    ]
