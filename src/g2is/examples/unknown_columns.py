"""A row of no known layout: what it has, and which flags would have it read."""

import shlex
from collections.abc import Mapping
from typing import Any, NoReturn

from g2is.errors import InputError
from g2is.examples.refused import check_pair
from g2is.examples.schemas import COLUMNS_READ, SCHEMAS, describe_columns, describe_schemas

# What public data sets call the two sides of a pair, those of the known layouts among them.
_QUESTIONS = ("instruction", "question", "prompt", "inputs", "query", "problem", "input", "user", "human")
_ANSWERS = ("output", "answer", "completion", "targets", "response", "solution", "target", "assistant", "reply")


def refuse_unknown(row: Mapping[str, Any], told_before: str = "") -> NoReturn:
    """Raise InputError for a row of no layout, under the file's own names: in short if its columns were `told_before`.

    Of a preference pair it is told as such.
    """
    check_pair(row)
    found = describe_columns(row)
    if found == told_before:
        raise InputError(f"expected the columns of a known layout, found {found} again")
    named = columns_to_name(row) or {"answer": "COLUMN"}
    flags = " ".join(f"--column {shlex.quote(f'{standard}={theirs}')}" for standard, theirs in named.items())
    raise InputError(
        f"expected columns {describe_schemas()}, found columns {found}; name them with --column, such as {flags}"
    )


def columns_to_name(row: Mapping[str, Any]) -> dict[str, str]:
    """The row's own columns by the standard ones that they seem to be; empty if nothing is like a layout's."""
    turns = next((name for name, value in row.items() if _are_turns(value)), None)
    if turns is not None:
        return {"messages": turns}
    question = next((name for name in _QUESTIONS if isinstance(row.get(name), str)), None)
    answer = next((name for name in _ANSWERS if isinstance(row.get(name), str)), None)
    if question is None or answer is None:
        return {}
    by_question = {columns[0]: name for name, columns in SCHEMAS.items()}
    by_answer = {columns[-1]: name for name, columns in SCHEMAS.items()}
    layout = by_question.get(question) or by_answer.get(answer, "question/answer")
    beside = {"input": "context"} if "input" in COLUMNS_READ[layout] and isinstance(row.get("context"), str) else {}
    named = dict(zip(SCHEMAS[layout], (question, answer), strict=True)) | beside
    return {standard: theirs for standard, theirs in named.items() if standard != theirs}


def _are_turns(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(turn, dict) and ({"role", "content"} <= turn.keys() or "from" in turn) for turn in value)
    )
