"""What rows say of right answers beside the one that is learned: `references` and `answer`, as test files have them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from g2is.config import ExamplesConfig
from g2is.errors import InputError
from g2is.examples.problems import BadRow
from g2is.examples.read import Example, read_examples
from g2is.examples.schemas import json_type
from g2is.examples.sources import Source


def read_references(
    sources: Sequence[Source], config: ExamplesConfig
) -> Iterator[tuple[int, tuple[tuple[str, ...], str | None] | BadRow]]:
    """The number of each row that can be read, with its other right answers and its short one, or what is wrong there.

    `references` is a list of strings (in CSV as JSON text); `answer`, or the column that is mapped to it, a string or
    number. Null or empty counts as absent. Raises InputError as `read_examples`.
    """
    for example in read_examples(sources, config):
        try:
            yield example.row, _of(example, config.columns.get("answer", "answer"))
        except InputError as problem:
            yield example.row, BadRow(example.origin, example.line, example.id, example.raw, problem)


def _of(example: Example, answer_column: str) -> tuple[tuple[str, ...], str | None]:
    values: dict[str, Any] = json.loads(example.raw)
    others, answer = values.get("references"), values.get(answer_column)
    if isinstance(others, str) and others and example.origin.format == "CSV":
        try:
            others = json.loads(others)
        except ValueError:
            raise InputError("expected a list of strings as JSON in `references`, found other text") from None
    if others in (None, ""):
        others = []
    if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
        found = "a list of others" if isinstance(others, list) else json_type(others)
        raise InputError(f"expected a list of strings in `references`, found {found}")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        raise InputError(f"expected a string or a number in `{answer_column}`, found {json_type(answer)}")
    return tuple(others), None if answer in (None, "") else str(answer)
