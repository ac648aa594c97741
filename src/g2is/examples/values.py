"""Single values of a row: what kind they are, and whether they are there at all."""

import re
from typing import Any

from g2is.errors import InputError


def json_type(value: Any) -> str:
    """Return the name of a value's type as an error message names it."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")  # Parquet has more types than JSON


def is_absent(value: Any) -> bool:
    """Whether a value says nothing: null, or an empty text, list or object. 0 and false say something."""
    return value is None or (isinstance(value, str | list | dict) and not value)


def text_of(value: Any, place: str) -> str:
    """Return `value`, which is at `place` of the row. Raises InputError if it is no text."""
    if not isinstance(value, str):
        raise InputError(f"expected a string in `{place}`, found {json_type(value)}")
    return value


def every_row(place: str) -> str:
    """A place within one row as that within every row: `messages[3].name` is `messages[].name`."""
    return re.sub(r"\[\d+\]", "[]", place)


def label_of(values: dict[str, Any], column: str) -> str | None:
    """Return what the row says of itself in `column`, or None if that is absent, null or empty."""
    value = values.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        hint = "" if column == "id" else f"; map another column to it with --column {column}=NAME"
        raise InputError(f"expected `{column}` to be a string or an integer, found {json_type(value)}{hint}")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"expected `{column}` to be Unicode text, found a lone surrogate") from None
    return text
