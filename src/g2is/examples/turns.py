"""One list of turns, in whatever names a file has for them, and a turn as we write it.

Keys of a turn are known and read, known and refused, or unread: those are named, for the user to be told. What is null
or empty was not given, since Arrow's structs have every key in every turn.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from g2is.errors import InputError
from g2is.examples.conversation import ASSISTANT, SYSTEM, TOOL, USER, Turn
from g2is.examples.marks import MARKS, flag_of, learned_part, looks_like_a_mark, mask_of_learned
from g2is.examples.tools import calls_of
from g2is.examples.values import every_row, is_absent, json_type, text_of

_ROLES = {
    SYSTEM: ("system", "developer"),
    USER: ("user", "human", "prompter"),
    ASSISTANT: ("assistant", "gpt", "model", "bot", "chatbot", "chatgpt", "ai", "bing", "bard"),
    TOOL: ("tool", "function", "observation", "function_response", "tool_response", "ipython"),
}
ROLE_OF = {word: role for role, words in _ROLES.items() for word in words}
_CALLS = ("function_call", "tool_call")  # roles of LLaMA-Factory and ms-swift whose text is calls in JSON
_REASONING = ("reasoning_content", "reasoning", "thinking")
_TEXT_PARTS = ("text", "input_text", "output_text")
MEDIA = frozenset(
    f"{name}{ending}" for name in ("image", "audio", "video", "image_url", "input_audio") for ending in ("", "s")
)
_TOOLS = frozenset(("tools", "functions"))
_KEYS = frozenset(("prefill", *MARKS, *_REASONING, "tool_calls", "function_call"))
_KEYS_OF_A_TOOL = _KEYS | {"name", "tool_call_id"}


def turns_of(
    value: Any, column: str, unread: dict[str, None], loss_mask: Any = None, in_prompt: bool = False
) -> tuple[Turn, ...]:
    """Return the turns of a list of {role, content} or {from, value}.

    `loss_mask` is the row's, one flag for each of its turns; assistant turns `in_prompt` are context. Keys that are not
    read are added to `unread`, as `messages[].name`. Raises InputError, naming the place within the row.
    """
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else json_type(value)
        raise InputError(f"expected a list of {{role, content}} in `{column}`, found {found}")
    places = [f"{column}[{index}]" for index in range(len(value))]
    words = [_word(turn, place) for turn, place in zip(value, places, strict=True)]
    roles = [ASSISTANT if word in _CALLS else ROLE_OF[word] for word in words]
    has_mask = any(turn.get("mask") is not None for turn in value)
    mask_if_learned = mask_of_learned(list(zip(roles, value, places, strict=True))) if has_mask else True
    flags = _flags(loss_mask, roles)
    turns: list[Turn] = []
    for index, (turn, role, place) in enumerate(zip(value, roles, places, strict=True)):
        is_call = words[index] in _CALLS
        read = _turn(turn, role, place, is_call, unread)
        if read is None:
            continue
        is_marked = not MARKS.isdisjoint(turn)
        said = learned_part(turn, role, place, read.content, mask_if_learned) if is_marked else None
        read = _as_marked(read, said, flags[index], in_prompt, place)
        if is_call and index and words[index - 1] in _CALLS:
            turns[-1] = _joined(turns[-1], read, place)
        else:
            turns.append(read)
    return tuple(turns)


def as_read(turn: Turn) -> dict[str, Any]:
    """The turn as `turns_of` reads it back."""
    values: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.reasoning:
        values["reasoning_content"] = turn.reasoning
    values |= turn.extra
    if turn.role == ASSISTANT and turn.context_only:
        values["train"] = False
    if turn.prefill:
        values["prefill"] = turn.prefill
    return values


def _word(turn: Any, place: str) -> str:
    """The turn's word for its role."""
    if not isinstance(turn, dict):
        raise InputError(f"expected {{role, content}} in `{place}`, found {json_type(turn)}")
    key = _keys(turn)[0]
    word = turn.get(key)
    known = word.lower() if isinstance(word, str) else ""
    if known not in ROLE_OF and known not in _CALLS:
        found = repr(word) if key in turn else f"keys {', '.join(turn) or 'none'}"
        raise InputError(f"expected `{key}` to be one of {', '.join((*ROLE_OF, *_CALLS))} in `{place}`, found {found}")
    return known


def _keys(turn: Mapping[str, Any]) -> tuple[str, str]:
    is_sharegpt = turn.get("role") is None and turn.get("from") is not None
    return ("from", "value") if is_sharegpt else ("role", "content")


def _turn(turn: Mapping[str, Any], role: str, place: str, is_call: bool, unread: dict[str, None]) -> Turn | None:
    """Return the turn without what its marks say, or None for a system turn of null."""
    role_key, content_key = _keys(turn)
    if len(turn) == 2 and isinstance(turn.get(content_key), str) and not is_call:
        return Turn(role, turn[content_key])  # as nearly all are
    extra = _extra(turn, role, place, unread)
    if content_key not in turn and not extra:
        raise InputError(f"expected `{content_key}` in `{place}`, found keys {', '.join(turn)}")
    given = turn.get(content_key)
    if role == SYSTEM and given is None:
        return None
    if is_call:
        if "tool_calls" in extra:
            raise InputError(f"expected calls once in `{place}`, found them in `{content_key}` and beside it")
        extra, given = {"tool_calls": calls_of(given, f"{place}.{content_key}", unread)}, ""
    content = _content(given, role, f"{place}.{content_key}", "tool_calls" in extra, unread)
    known = _KEYS_OF_A_TOOL if role == TOOL else _KEYS
    for key, value in turn.items():
        if key not in known and key not in (role_key, content_key) and not is_absent(value):
            _check_key(key, value, place)
            unread[f"{every_row(place)}.{key}"] = None
    return Turn(
        role,
        content,
        prefill=_prefill(turn, role, place, content),
        reasoning=_reasoning(turn, role, place),
        extra=extra,
    )


def _check_key(key: str, value: Any, place: str) -> None:
    if key in MEDIA:
        raise InputError(
            f"expected turns of text in `{place}`, found `{key}`, which a text model cannot see; leave such rows out"
        )
    if key in _TOOLS:
        raise InputError(f"expected a row's tools in a column `tools` of its own, found `{key}` in `{place}`")
    if looks_like_a_mark(key, value):
        raise InputError(
            f"expected marks that are known in `{place}`, found `{key}`, which may say what is learned; rename it to"
            " `loss` (true: learned) if it does, else to another name (all marks: docs/formats.md)"
        )


def _extra(turn: Mapping[str, Any], role: str, place: str, unread: dict[str, None]) -> dict[str, Any]:
    """What a template reads of the turn beside role, content and reasoning."""
    keys = [key for key in ("tool_calls", "function_call") if not is_absent(turn.get(key))]
    if keys and role != ASSISTANT:
        raise InputError(f"expected `{keys[0]}` in assistant turns alone, found it in `{place}` ({role})")
    if len(keys) > 1:
        raise InputError(f"expected calls once in `{place}`, found {' and '.join(keys)}; keep tool_calls")
    if keys:
        return {"tool_calls": calls_of(turn[keys[0]], f"{place}.{keys[0]}", unread)}
    if role == TOOL:
        return {key: text_of(turn[key], f"{place}.{key}") for key in ("name", "tool_call_id") if turn.get(key)}
    return {}


def _content(value: Any, role: str, place: str, may_be_empty: bool, unread: dict[str, None]) -> str:
    if isinstance(value, str):
        return value
    if is_absent(value) and may_be_empty:
        return ""
    if isinstance(value, list) and value and all(isinstance(part, dict) and "type" in part for part in value):
        return "".join(_part(part, f"{place}[{index}]", unread) for index, part in enumerate(value))
    if role == TOOL and value is not None:
        return json.dumps(value, ensure_ascii=False, default=str)  # what a tool returned
    raise InputError(
        f"expected a string, or a list of {{type, text}}, in `{place}`, found"
        f" {'an empty list' if value == [] else json_type(value)}"
    )


def _part(part: Mapping[str, Any], place: str, unread: dict[str, None]) -> str:
    if part["type"] not in _TEXT_PARTS:
        kind = part["type"]
        why = "which a text model cannot see" if kind in MEDIA or kind == "file" else "which is not known"
        raise InputError(f"expected parts of type text in `{place}`, found {kind!r}, {why}; leave such rows out")
    for key, value in part.items():
        if key not in ("type", "text") and not is_absent(value):
            _check_key(key, value, place)
            unread[f"{every_row(place)}.{key}"] = None
    return text_of(part.get("text"), f"{place}.text")


def _reasoning(turn: Mapping[str, Any], role: str, place: str) -> str:
    found = {key: text_of(turn[key], f"{place}.{key}") for key in _REASONING if not is_absent(turn.get(key))}
    if found and role != ASSISTANT:
        raise InputError(f"expected `{next(iter(found))}` in assistant turns alone, found it in `{place}` ({role})")
    if len(set(found.values())) > 1:
        raise InputError(f"expected reasoning once in `{place}`, found {', '.join(found)}, which differ; keep one")
    return next(iter(found.values()), "")


def _prefill(turn: Mapping[str, Any], role: str, place: str, content: str) -> str:
    prefill = turn.get("prefill")
    if is_absent(prefill):
        return ""
    if role != ASSISTANT or not content.startswith(text_of(prefill, f"{place}.prefill")):
        raise InputError(f"expected `prefill` to be the beginning of an assistant turn in `{place}`, found otherwise")
    return str(prefill)


def _flags(loss_mask: Any, roles: list[str]) -> list[bool | None]:
    if is_absent(loss_mask):
        return [None] * len(roles)
    if not isinstance(loss_mask, list) or len(loss_mask) != len(roles):
        found = f"{len(loss_mask)}" if isinstance(loss_mask, list) else json_type(loss_mask)
        raise InputError(f"expected one flag for each of the {len(roles)} turns in `loss_mask`, found {found}")
    flags: list[bool | None] = [flag_of(value, f"loss_mask[{index}]") for index, value in enumerate(loss_mask)]
    for index, (flag, role) in enumerate(zip(flags, roles, strict=True)):
        if flag and role != ASSISTANT:
            raise InputError(
                f"expected only assistant turns to be learned, found 1 in `loss_mask[{index}]`, of a {role} turn;"
                " set it to 0"
            )
    return flags


def _as_marked(turn: Turn, said: tuple[bool, str] | None, flag: bool | None, in_prompt: bool, place: str) -> Turn:
    """The turn as its own marks, the row's `loss_mask` and its place say."""
    if turn.role != ASSISTANT or (said is None and flag is None and not in_prompt and not turn.prefill):
        return turn
    if said is not None and flag is not None and said[0] != flag:
        raise InputError(f"expected marks that agree, found `loss_mask` and those of `{place}`, which do not; keep one")
    learned = said[0] if said is not None else flag
    if in_prompt and learned:
        raise InputError(
            f"expected turns of `prompt` to be context, found a mark in `{place}` that says learned; put the turn into"
            " `completion`, or leave the mark out"
        )
    context_only = in_prompt or learned is False
    prefill = said[1] if said is not None and said[1] else turn.prefill
    if prefill and (turn.reasoning or context_only):
        found = "reasoning" if turn.reasoning else "a mark that says: not learned"
        raise InputError(f"expected a learned answer that goes on from its prefill in `{place}`, found {found} too")
    return replace(turn, context_only=context_only, prefill=prefill)


def _joined(first: Turn, second: Turn, place: str) -> Turn:
    """Calls that follow each other are those of one turn."""
    if first.context_only != second.context_only or first.reasoning != second.reasoning:
        raise InputError(f"expected calls of one turn to be learned alike, found others in `{place}`")
    return replace(first, extra={"tool_calls": [*first.extra["tool_calls"], *second.extra["tool_calls"]]})
