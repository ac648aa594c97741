"""The column layouts of instruction data that g2is knows, each turned into one list of turns.

    messages            `messages`: list of {role, content}
    prompt/completion   `prompt`, `completion`: both strings, or both lists of {role, content} as TRL has them
    alpaca              `instruction`, `output`, and where there is one `input` (joined by an empty line)

Other columns are left alone. A row with the columns of several layouts is read by the first of this list.
"""

from collections.abc import Mapping
from typing import Any

from g2is.errors import InputError

Message = tuple[str, str]  # (role, content)

ROLES = ("system", "user", "assistant")
SCHEMAS = {
    "messages": ("messages",),
    "prompt/completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
}
# Parts of a turn that the model would see, or that change what is learned, and that (role, content) cannot hold.
_UNSUPPORTED_KEYS = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "weight")


def schema_of(row: Mapping[str, Any]) -> str | None:
    """Return the name of the first schema whose columns `row` has, or None."""
    return next((name for name, columns in SCHEMAS.items() if all(column in row for column in columns)), None)


def messages_of(row: Mapping[str, Any], schema: str) -> tuple[Message, ...]:
    """Return the row's turns, at least one of them by the assistant and none of those empty.

    Raises InputError saying what was expected and what was found; the caller adds the place.
    """
    if schema == "messages":
        messages = _turns(row["messages"], "messages")
    elif schema == "alpaca":
        extra = row.get("input")
        question = _text(row["instruction"], "instruction")
        if extra is not None and _text(extra, "input"):
            question = f"{question}\n\n{extra}"
        messages = (("user", question), ("assistant", _text(row["output"], "output")))
    elif isinstance(row["prompt"], list):
        messages = _turns(row["prompt"], "prompt") + _turns(row["completion"], "completion")
    else:
        prompt, completion = _text(row["prompt"], "prompt"), _text(row["completion"], "completion")
        messages = (("user", prompt), ("assistant", completion))
    _check_answers(messages)
    return messages


def describe_columns(row: Mapping[str, Any]) -> str:
    """Return the row's columns as an error message names them."""
    return ", ".join(row) or "none"


def describe_schemas() -> str:
    """Return the known schemas' columns as an error message names them."""
    return " | ".join(f"{', '.join(columns)} ({name})" for name, columns in SCHEMAS.items())


def json_type(value: Any) -> str:
    """Return the name of a parsed JSON value's type as an error message names it."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]


def _turns(value: Any, column: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else json_type(value)
        raise InputError(f"expected a list of {{role, content}} in `{column}`, found {found}")
    turns = []
    for index, turn in enumerate(value):
        place = f"{column}[{index}]"
        if not isinstance(turn, dict):
            raise InputError(f"expected {{role, content}} in `{place}`, found {json_type(turn)}")
        if turn.get("role") not in ROLES:
            found = repr(turn["role"]) if "role" in turn else f"keys {describe_columns(turn)}"
            raise InputError(f"expected `role` to be one of {', '.join(ROLES)} in `{place}`, found {found}")
        for key in _UNSUPPORTED_KEYS:
            if turn.get(key) not in (None, "", [], {}):  # 0 is a weight that says: do not learn
                raise InputError(f"expected only role and content in `{place}`, found `{key}`, which is not supported")
        if "content" not in turn:
            raise InputError(f"expected `content` in `{place}`, found keys {describe_columns(turn)}")
        turns.append((turn["role"], _text(turn["content"], f"{place}.content")))
    return tuple(turns)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"expected a string in `{place}`, found {json_type(value)}")
    return value


def _check_answers(messages: tuple[Message, ...]) -> None:
    answers = [(index, content) for index, (role, content) in enumerate(messages) if role == "assistant"]
    if not answers:
        raise InputError(f"expected an assistant turn, found only {', '.join(role for role, _ in messages)}")
    for index, content in answers:
        if not content.strip():
            raise InputError(f"expected an answer in turn {index + 1} (assistant), found an empty one")
    for index, (role, content) in enumerate(messages):
        try:
            content.encode()
        except UnicodeEncodeError:
            # JSON can escape half a surrogate pair, which no tokenizer takes.
            raise InputError(f"expected Unicode text in turn {index + 1} ({role}), found a lone surrogate") from None
