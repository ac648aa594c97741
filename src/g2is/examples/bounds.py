"""What a chat template may cost: steps, characters and time of one rendering, whatever the template's author meant.

Jinja's sandbox keeps a template from reading and writing what is not its own; it does not keep it from going on for
ever. Time alone is no bound: `'a' * 10**10` is one step of Python, which nothing interrupts. So what may make much of
little is looked at before it is done, and everything that is made is counted.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from jinja2.runtime import Undefined
from jinja2.utils import Namespace

SECONDS = 10.0  # of a processor: a busy machine is not the template's fault
_STEPS, _CHARACTERS = 1_000_000, 4_000_000  # whatever is rendered
_STEPS_A_CHARACTER, _CHARACTERS_A_CHARACTER = 10, 100  # and more, for each character that is given
_BETWEEN_LOOKS = 128  # steps between looks at the clock
_A_VALUE = 16  # characters that a value counts as, for it takes as long
_BITS = 20_000  # of a whole number
_SIMPLE = (int, float, bool, type(None), str)
_DIGITS = re.compile(r"\d+")
_FIELDS = re.compile(r"[%{]")
_WIDTH_FROM_ARGUMENT = re.compile(r"%[^a-zA-Z%]*\*|\{[^}]*\{")


class LimitError(Exception):
    """A template that takes more than one rendering may."""


class Budget:
    """What is left of one rendering; `given` is what is rendered, which is measured where the least does not do."""

    def __init__(self, given: Any) -> None:
        self._given: Any = given
        self.steps = _STEPS
        self.characters = self.most = _CHARACTERS
        self.nests_namespaces = False  # values that were looked at may have grown: they are looked at again
        self._look_at = _STEPS - _BETWEEN_LOOKS
        self._until = time.thread_time() + SECONDS

    def step(self, num: int = 1) -> None:
        """Count steps. Raises LimitError where there are none left, or no time."""
        self.steps -= num
        if self.steps < self._look_at:
            self._look()

    def make(self, num: int) -> None:
        """Count characters, before they are made where that can be. Raises LimitError where there are none left."""
        self.characters -= num
        if self.characters < 0:
            self._look()

    def allow(self, num: int) -> None:
        """Raise LimitError if one step makes `num` characters or values, which are more than all may be."""
        if num > self.most:
            self.measure()
            if num > self.most:
                raise LimitError(f"writes or holds {num:.0e} characters or values at once")

    def _look(self) -> None:
        self._look_at = self.steps - _BETWEEN_LOOKS
        if self.steps < 0 or self.characters < 0:
            self.measure()
        if self.steps < 0:
            raise LimitError("takes more steps than any conversation of this length needs: a loop that hardly ends?")
        if self.characters < 0:
            raise LimitError(f"writes more than {self.most} characters, many times what it is given")
        if time.thread_time() > self._until:
            raise LimitError(f"takes more than {SECONDS:.0f} seconds")

    def measure(self) -> None:
        """Allow for what is given, once."""
        if self._given is not None:
            size = weight(self._given, 1 << 40)
            self._given = None
            self.steps += _STEPS_A_CHARACTER * size
            self.characters += _CHARACTERS_A_CHARACTER * size
            self.most += _CHARACTERS_A_CHARACTER * size


def weight(value: Any, most: int, budget: Budget | None = None) -> int:
    """The characters and values in `value`, each counted as often as it is named; counting ends beyond `most`.

    `budget` is told of a namespace within it, which may hold more later, the value itself even.
    """
    if isinstance(value, str | bytes):
        return len(value)
    num, left = 0, [value]
    while left and num <= most:
        inner = left.pop()
        num += _A_VALUE
        if isinstance(inner, str | bytes):
            num += len(inner)
        elif isinstance(inner, Mapping):
            left += inner.keys()
            left += inner.values()
        elif isinstance(inner, list | tuple | set | frozenset):
            if num + len(inner) <= most:
                left += inner
            else:
                num += len(inner)
        elif isinstance(inner, Namespace):
            if budget is not None:
                budget.nests_namespaces |= inner is not value
            left += inner._Namespace__attrs.values()
    return num


def check_value(value: Any, budget: Budget) -> Any:
    """`value`, made by a template. Raises LimitError if it says the same so often that writing it would not end."""
    simple = type(value) in _SIMPLE or isinstance(value, str | Undefined)
    if not simple and weight(value, budget.most, budget) > budget.most:
        budget.measure()  # after which more may be allowed
        budget.allow(weight(value, budget.most, budget))
    return value


def check_arguments(value: Any, arguments: Iterable[Any], budget: Budget) -> None:
    """Raise LimitError where as much as `value` times its arguments, all of them sizes or lengths, were too much."""
    product = max(1, weight(value, budget.most))
    for argument in arguments:
        if isinstance(argument, int):  # bool too
            product *= max(1, abs(int(argument)))
        elif not isinstance(argument, float):
            product *= max(1, weight(argument, budget.most))
    budget.allow(product)


def check_replace(text: Any, old: Any, new: Any, budget: Budget) -> None:
    """Raise LimitError where replacing `old` by `new` wherever it may stand in `text` made too much."""
    size, of_old, of_new = (
        len(part) if isinstance(part, str) else weight(part, budget.most) for part in (text, old, new)
    )
    budget.allow(size + (size // max(1, of_old) + 1) * of_new)


def check_format(text: str, arguments: Collection[Any], budget: Budget) -> None:
    """Raise LimitError where `text`, formatted by `%` or as `str.format` does, were too much."""
    of_arguments = sum(weight(argument, budget.most) for argument in arguments)
    if _WIDTH_FROM_ARGUMENT.search(text):
        of_arguments += sum(abs(number) for number in _whole_numbers(arguments))
    widths = 0
    for digits in _DIGITS.findall(text):
        budget.allow(10 ** min(len(digits) - 1, 20))
        widths += int(digits)
    budget.allow(len(text) + widths + len(_FIELDS.findall(text)) * of_arguments)


def _whole_numbers(values: Iterable[Any]) -> Iterator[int]:
    for value in values:
        if isinstance(value, int):
            yield value
        elif isinstance(value, Mapping):
            yield from _whole_numbers(value.values())
        elif isinstance(value, list | tuple):
            yield from _whole_numbers(value)


def check_operation(operator: str, left: Any, right: Any, budget: Budget) -> None:
    """Count what `left operator right` makes. Raises LimitError where that is too much."""
    if operator == "+":
        if isinstance(left, str) and isinstance(right, str):
            budget.make(len(left) + len(right))
        elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
            budget.step(len(left) + len(right))
            budget.allow(weight(left, budget.most) + weight(right, budget.most))
    elif operator == "%" and isinstance(left, str | bytes):
        check_format(str(left), right if isinstance(right, tuple) else (right,), budget)
    elif operator == "*":
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
        else:
            text, times = (left, right) if isinstance(right, int) else (right, left)
            check_arguments(text, (times,), budget)
    elif operator == "**" and isinstance(left, int) and isinstance(right, int) and right > 0:
        _check_bits(left.bit_length() * right)


def _check_bits(num: int) -> None:
    if num > _BITS:
        raise LimitError("makes numbers of thousands of digits")


def counted(values: Iterable[Any], budget: Callable[[], Budget]) -> Iterator[Any]:
    """`values`, each of them a step."""
    for value in values:
        budget().step()
        yield value
