"""The column layouts of instruction data that g2is knows, each turned into one conversation.

    messages            `messages`: list of turns
    sharegpt            `conversations`: list of turns
    prompt/completion   `prompt`, `completion`: each a string or a list of turns as TRL has them; the prompt is context,
                        an answer at its end the beginning of the one to learn
    alpaca              `instruction`, `output`, and where there is one `input` (joined by an empty line)
    inputs/targets      `inputs`, `targets` (FLAN)
    question/answer     `question`, `answer`, and where there is one `input`, as alpaca's

Each may have `system` or `system_prompt` and `tools` beside; all but the first two `history`, a list of
[question, answer], as LLaMA-Factory has it; the first two `loss_mask`. A turn may be {role, content} or {from, value}
in any of them (`turns.py`). Every other column is refused by name (`refused.py`) or unread. A row with the columns of
several layouts is read by the one that is asked for, else as the file's first row, else by the first of this list.
Files that were joined have nulls where a row had no such column, so a layout whose columns are null gives way.
"""

import json
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any, get_args

from g2is.config import Layout
from g2is.errors import InputError
from g2is.examples.conversation import ASSISTANT, SYSTEM, USER, Conversation, Turn
from g2is.examples.refused import check_row
from g2is.examples.tools import tools_of
from g2is.examples.turns import as_read, turns_of
from g2is.examples.values import is_absent, text_of
from g2is.examples.values import json_type as json_type

SCHEMAS: dict[Layout, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "prompt/completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "inputs/targets": ("inputs", "targets"),
    "question/answer": ("question", "answer"),
}
assert tuple(SCHEMAS) == get_args(Layout)
LIST_COLUMNS = frozenset({"messages", "conversations", "history", "tools", "loss_mask"})
_OF_ALL = ("id", "source", "group", "system", "system_prompt", "tools")
_BESIDE: dict[Layout, tuple[str, ...]] = {
    "messages": ("loss_mask",),
    "sharegpt": ("loss_mask",),
    "prompt/completion": ("history",),
    "alpaca": ("input", "history"),
    "inputs/targets": ("history",),
    "question/answer": ("input", "history"),
}
COLUMNS_READ: dict[Layout, frozenset[str]] = {
    name: frozenset((*_OF_ALL, *columns, *_BESIDE[name])) for name, columns in SCHEMAS.items()
}


def schema_of(row: Mapping[str, Any], asked: Layout | None = None) -> Layout | None:
    """Return the schema whose columns `row` has, or None: `asked`, unless all of its are null; then the first.

    One with a null comes after all without.
    """
    known = [name for name in SCHEMAS if has_columns(row, name)]
    if asked in known and any(row[column] is not None for column in SCHEMAS[asked]):
        return asked
    filled = (name for name in known if all(row[column] is not None for column in SCHEMAS[name]))
    return next(filled, known[0] if known else None)


def has_columns(row: Mapping[str, Any], schema: Layout) -> bool:
    """Whether `row` has the columns that `schema` cannot do without."""
    return all(column in row for column in SCHEMAS[schema])


def conversation_of(
    row: Mapping[str, Any], schema: Layout, named: Container[str] = (), unread: dict[str, None] | None = None
) -> Conversation:
    """Return the row's turns and tools: at least one turn is by the assistant and learned, and none of those empty.

    `named` are the columns that the user named himself. Columns and keys of turns that say something and are not read
    are added to `unread`. Raises InputError saying what was expected and what was found; the caller adds the place.
    """
    unread = {} if unread is None else unread
    understood = check_row(row, named, SCHEMAS[schema][-1])
    read = COLUMNS_READ[schema]
    if "loss_mask" not in read and not is_absent(row.get("loss_mask")):
        raise InputError("expected `loss_mask` beside one list of turns, found it beside others; leave it out")
    unread.update({name: None for name in row if name not in read | understood and not is_absent(row[name])})
    turns = _with_system(row, _turns_of(row, schema, unread))
    _check_answers(turns)
    conversation = Conversation(turns, tools_of(row.get("tools"), "tools"))
    _check_text(conversation)
    return conversation


def row_of(conversation: Conversation) -> dict[str, Any]:
    """The conversation as a row of the layout messages, from which `conversation_of` reads the same one."""
    row: dict[str, Any] = {"messages": [as_read(turn) for turn in conversation.turns]}
    return row | ({"tools": list(conversation.tools)} if conversation.tools else {})


def describe_columns(row: Mapping[str, Any]) -> str:
    """Return the row's columns as an error message names them."""
    return ", ".join(row) or "none"


def describe_schemas() -> str:
    """Return the known schemas' columns as an error message names them."""
    return " | ".join(f"{', '.join(columns)} ({name})" for name, columns in SCHEMAS.items())


def _turns_of(row: Mapping[str, Any], schema: Layout, unread: dict[str, None]) -> tuple[Turn, ...]:
    question_column, answer_column = SCHEMAS[schema][0], SCHEMAS[schema][-1]
    question, answer = row[question_column], row[answer_column]
    if schema in ("messages", "sharegpt"):
        return turns_of(question, question_column, unread, row.get("loss_mask"))
    if schema == "prompt/completion" and (isinstance(question, list) or isinstance(answer, list)):
        if not is_absent(row.get("history")):
            raise InputError("expected turns in `prompt` alone, found `history` beside them; put it into `prompt`")
        return _after_prompt(question, answer, unread)
    text = text_of(question, question_column)
    if "input" in COLUMNS_READ[schema] and row.get("input") is not None and text_of(row["input"], "input"):
        text = f"{text}\n\n{row['input']}"
    return (*_history(row.get("history")), *_pair(text, text_of(answer, answer_column)))


def _after_prompt(prompt: Any, completion: Any, unread: dict[str, None]) -> tuple[Turn, ...]:
    """The turns of a prompt and a completion of which at least one is a list."""
    if isinstance(prompt, str):
        before: tuple[Turn, ...] = (Turn(USER, prompt),)
    else:
        before = turns_of(prompt, "prompt", unread, in_prompt=True)
    if isinstance(completion, str):
        after: tuple[Turn, ...] = (Turn(ASSISTANT, completion),)
    else:
        after = turns_of(completion, "completion", unread)
    if before and after and before[-1].role == USER and after[0] == before[-1]:
        raise InputError(
            "expected `completion` to go on from `prompt`, found it to begin with its last turn again; read it alone"
            " with --column messages=COLUMN"
        )
    if not (before and after) or {before[-1].role, after[0].role} != {ASSISTANT}:
        return before + after
    begun, rest = before[-1], after[0]
    if begun.extra or begun.reasoning or rest.reasoning or rest.prefill:
        raise InputError(
            "expected text alone where an answer begins at the end of `prompt` and goes on in `completion`, found"
            " reasoning, calls or a prefill there; put the whole answer into `completion`"
        )
    prefill = "" if rest.context_only else begun.content
    return (*before[:-1], replace(rest, content=begun.content + rest.content, prefill=prefill), *after[1:])


def _pair(question: str, answer: str) -> tuple[Turn, ...]:
    return (Turn(USER, question), Turn(ASSISTANT, answer))


def _with_system(row: Mapping[str, Any], turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """`turns` after the row's own system text, if it has one."""
    given = {name: text_of(row[name], name) for name in ("system", "system_prompt") if not is_absent(row.get(name))}
    texts = {name: text for name, text in given.items() if text.strip()}
    if len(set(texts.values())) > 1:
        raise InputError("expected one system text, found `system` and `system_prompt`, which differ; keep one")
    own = [turn.content for turn in turns if turn.role == SYSTEM]
    if not texts or (own and turns[0].role == SYSTEM and set(own) == set(texts.values())):
        return turns
    if own:
        raise InputError(f"expected one system text, found `{next(iter(texts))}` and a system turn; keep one")
    return (Turn(SYSTEM, next(iter(texts.values()))), *turns)


def _history(value: Any) -> tuple[Turn, ...]:
    if is_absent(value):
        return ()
    if not isinstance(value, list):
        raise InputError(f"expected a list of [question, answer] in `history`, found {json_type(value)}")
    turns: list[Turn] = []
    for index, pair in enumerate(value):
        place = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"a list of {len(pair)}" if isinstance(pair, list) else json_type(pair)
            raise InputError(f"expected [question, answer] in `{place}`, found {found}")
        turns += _pair(text_of(pair[0], f"{place}[0]"), text_of(pair[1], f"{place}[1]"))
    return tuple(turns)


def _check_answers(turns: tuple[Turn, ...]) -> None:
    if not any(turn.role == ASSISTANT for turn in turns):
        raise InputError(f"expected an assistant turn, found only {', '.join(turn.role for turn in turns) or 'none'}")
    if not any(turn.is_learned for turn in turns):
        raise InputError(
            "expected an assistant turn that is learned, found only such as their marks, or the prompt that they stand"
            " in, make context; mark one as learned, or leave the row out"
        )
    for index, turn in enumerate(turns):
        if turn.is_learned and not turn.content[len(turn.prefill) :].strip() and not turn.extra.get("tool_calls"):
            raise InputError(f"expected an answer in turn {index + 1} (assistant), found an empty one")


def _check_text(conversation: Conversation) -> None:
    for index, turn in enumerate(conversation.turns):
        if problem := _problem(turn.content + turn.reasoning, turn.extra):
            raise InputError(problem.format(place=f"turn {index + 1} ({turn.role})"))
    if problem := _problem("", conversation.tools):
        raise InputError(problem.format(place="`tools`"))


def _problem(text: str, values: Any) -> str | None:
    """Why a text, or the values beside it, cannot be written out again; None if they can."""
    try:
        text.encode()
        if values:
            json.dumps(values, ensure_ascii=False, allow_nan=False, default=str).encode()
    except UnicodeEncodeError:  # JSON can escape half a surrogate pair, which no tokenizer takes
        return "expected Unicode text in {place}, found a lone surrogate"
    except ValueError:
        return "expected numbers that JSON has in {place}, found NaN or Infinity; write null"
    return None
