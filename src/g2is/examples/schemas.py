"""The column layouts of instruction data that g2is knows, each turned into one list of turns.

    messages            `messages`: list of {role, content}
    sharegpt            `conversations`: list of {from, value}; where there is one, a `system` text before them
    prompt/completion   `prompt`, `completion`: both strings, or both lists of turns as TRL has them
    alpaca              `instruction`, `output`, and where there is one `input` (joined by an empty line); as
                        LLaMA-Factory has it also `system`, and `history`: list of [question, answer]
    inputs/targets      `inputs`, `targets` (FLAN)
    question/answer     `question`, `answer`

A turn may be {role, content} or {from, value} in any of them. Other columns are left alone. A row with the columns of
several layouts is read by the first of this list, or by the one that is asked for.
"""

from collections.abc import Mapping
from typing import Any, get_args

from g2is.config import Layout
from g2is.errors import InputError
from g2is.examples.conversation import Conversation, Turn

ROLES = ("system", "user", "assistant")
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"} | {role: role for role in ROLES}
SCHEMAS: dict[Layout, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "prompt/completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "inputs/targets": ("inputs", "targets"),
    "question/answer": ("question", "answer"),
}
assert tuple(SCHEMAS) == get_args(Layout)
LIST_COLUMNS = frozenset({"messages", "conversations", "history"})
# Parts of a turn that the model would see, or that change what is learned, and that (role, content) cannot hold.
_UNSUPPORTED_KEYS = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking", "weight")


def schema_of(row: Mapping[str, Any], asked: Layout | None = None) -> Layout | None:
    """Return `asked` if `row` has its columns, else the name of the first schema whose columns it has, or None."""
    names = SCHEMAS if asked is None else (asked, *SCHEMAS)
    return next((name for name in names if has_columns(row, name)), None)


def has_columns(row: Mapping[str, Any], schema: Layout) -> bool:
    """Whether `row` has the columns that `schema` cannot do without."""
    return all(column in row for column in SCHEMAS[schema])


def conversation_of(row: Mapping[str, Any], schema: Layout) -> Conversation:
    """Return the row's turns, at least one of them by the assistant and none of those empty.

    Raises InputError saying what was expected and what was found; the caller adds the place.
    """
    if schema == "messages":
        turns = _turns(row["messages"], "messages")
    elif schema == "sharegpt":
        turns = _turns(row["conversations"], "conversations")
        system = _system(row)
        if system and turns[0].role == "system":
            raise InputError("expected one system text, found `system` and a system turn in `conversations`")
        turns = system + turns
    elif schema == "alpaca":
        extra = row.get("input")
        question = _text(row["instruction"], "instruction")
        if extra is not None and _text(extra, "input"):
            question = f"{question}\n\n{extra}"
        turns = (*_system(row), *_history(row.get("history")), *_pair(question, _text(row["output"], "output")))
    elif schema == "prompt/completion" and isinstance(row["prompt"], list):
        turns = _turns(row["prompt"], "prompt") + _turns(row["completion"], "completion")
    else:
        question_column, answer_column = SCHEMAS[schema]
        question, answer = _text(row[question_column], question_column), _text(row[answer_column], answer_column)
        turns = _pair(question, answer)
    _check_answers(turns)
    return Conversation(turns)


def describe_columns(row: Mapping[str, Any]) -> str:
    """Return the row's columns as an error message names them."""
    return ", ".join(row) or "none"


def describe_schemas() -> str:
    """Return the known schemas' columns as an error message names them."""
    return " | ".join(f"{', '.join(columns)} ({name})" for name, columns in SCHEMAS.items())


def json_type(value: Any) -> str:
    """Return the name of a value's type as an error message names it."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")  # Parquet has more types than JSON


def _pair(question: str, answer: str) -> tuple[Turn, ...]:
    return (Turn("user", question), Turn("assistant", answer))


def _system(row: Mapping[str, Any]) -> tuple[Turn, ...]:
    value = row.get("system")
    return (Turn("system", _text(value, "system")),) if value not in (None, "") else ()


def _history(value: Any) -> tuple[Turn, ...]:
    if value is None or value in ("", []):
        return ()
    if not isinstance(value, list):
        raise InputError(f"expected a list of [question, answer] in `history`, found {json_type(value)}")
    turns: list[Turn] = []
    for index, pair in enumerate(value):
        place = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"a list of {len(pair)}" if isinstance(pair, list) else json_type(pair)
            raise InputError(f"expected [question, answer] in `{place}`, found {found}")
        turns += _pair(_text(pair[0], f"{place}[0]"), _text(pair[1], f"{place}[1]"))
    return tuple(turns)


def _turns(value: Any, column: str) -> tuple[Turn, ...]:
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else json_type(value)
        raise InputError(f"expected a list of {{role, content}} in `{column}`, found {found}")
    return tuple(_turn(turn, f"{column}[{index}]") for index, turn in enumerate(value))


def _turn(turn: Any, place: str) -> Turn:
    if not isinstance(turn, dict):
        raise InputError(f"expected {{role, content}} in `{place}`, found {json_type(turn)}")
    # Arrow's structs have every key in every turn: what is null there was not given.
    is_sharegpt = turn.get("role") is None and turn.get("from") is not None
    role_key, content_key = ("from", "value") if is_sharegpt else ("role", "content")
    roles = _SHAREGPT_ROLES if is_sharegpt else {role: role for role in ROLES}
    found_role = turn.get(role_key)
    if not isinstance(found_role, str) or found_role not in roles:
        found = repr(found_role) if role_key in turn else f"keys {describe_columns(turn)}"
        raise InputError(f"expected `{role_key}` to be one of {', '.join(roles)} in `{place}`, found {found}")
    for key in _UNSUPPORTED_KEYS:
        if turn.get(key) not in (None, "", [], {}):  # 0 is a weight that says: do not learn
            raise InputError(f"expected only role and content in `{place}`, found `{key}`, which is not supported")
    if content_key not in turn:
        raise InputError(f"expected `{content_key}` in `{place}`, found keys {describe_columns(turn)}")
    return Turn(roles[found_role], _text(turn[content_key], f"{place}.{content_key}"))


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"expected a string in `{place}`, found {json_type(value)}")
    return value


def _check_answers(turns: tuple[Turn, ...]) -> None:
    answers = [(index, turn.content) for index, turn in enumerate(turns) if turn.is_learned]
    if not answers:
        raise InputError(f"expected an assistant turn, found only {', '.join(turn.role for turn in turns)}")
    for index, content in answers:
        if not content.strip():
            raise InputError(f"expected an answer in turn {index + 1} (assistant), found an empty one")
    for index, turn in enumerate(turns):
        try:
            turn.content.encode()
        except UnicodeEncodeError:
            # JSON can escape half a surrogate pair, which no tokenizer takes.
            raise InputError(
                f"expected Unicode text in turn {index + 1} ({turn.role}), found a lone surrogate"
            ) from None
