"""Tools that an assistant may call, and its calls, in the shape that chat templates read: OpenAI's."""

from collections.abc import Mapping
from typing import Any

from g2is.config.strict import parse_json
from g2is.errors import InputError
from g2is.examples.values import every_row, is_absent, json_type

_OF_A_CALL = ("id", "type", "function", "name", "arguments", "parameters")


def tools_of(value: Any, place: str) -> tuple[Mapping[str, Any], ...]:
    """Return a row's tools as {type, function}: given as a list or as JSON of one, an entry that is a function wrapped.

    Raises InputError if `value`, which is at `place`, is something else.
    """
    if is_absent(value):
        return ()
    return tuple(_tool(item, f"{place}[{index}]") for index, item in enumerate(_list(value, place)))


def calls_of(value: Any, place: str, unread: dict[str, None]) -> list[Mapping[str, Any]]:
    """Return calls as {id, type, function: {name, arguments}}, arguments as an object.

    `value` is a list of calls, a call, or JSON of either; names of keys that are not read are added to `unread`.
    Raises InputError if it is something else.
    """
    calls = _parsed(value, place) if isinstance(value, str) else value
    calls = calls if isinstance(calls, list) else [calls]
    return [_call(item, f"{place}[{index}]", every_row(place), unread) for index, item in enumerate(calls)]


def _list(value: Any, place: str) -> list[Any]:
    found = _parsed(value, place) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise InputError(f"expected a list of tools in `{place}`, or JSON of one, found {json_type(found)}")
    return found


def _tool(value: Any, place: str) -> Mapping[str, Any]:
    tool = _parsed(value, place) if isinstance(value, str) else value
    if isinstance(tool, dict) and isinstance(tool.get("function"), dict) and tool["function"].get("name"):
        return tool
    if isinstance(tool, dict) and isinstance(tool.get("name"), str) and "function" not in tool:
        return {"type": "function", "function": {key: part for key, part in tool.items() if key != "type"}}
    raise InputError(f"expected a tool's JSON schema in `{place}`, with a name in it, found {json_type(tool)} without")


def _call(value: Any, place: str, column: str, unread: dict[str, None]) -> Mapping[str, Any]:
    call = _parsed(value, place) if isinstance(value, str) else value
    function = call.get("function") if isinstance(call, dict) and call.get("function") is not None else call
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise InputError(
            f"expected a call {{name, arguments}} in `{place}`, found {json_type(function)} without a name"
        )
    for of in (call, function):
        unread.update({f"{column}[].{key}": None for key in of if key not in _OF_A_CALL and of[key] is not None})
    key = "arguments" if function.get("arguments") is not None else "parameters"
    arguments = function.get(key)
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"{place}.{key}") if arguments.strip() else {}
    if not isinstance(arguments, dict | None):
        raise InputError(f"expected an object of arguments in `{place}.{key}`, found {json_type(arguments)}")
    named = {"id": call["id"]} if call.get("id") is not None else {}
    return {**named, "type": "function", "function": {"name": function["name"], "arguments": arguments or {}}}


def _parsed(text: str, place: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"expected JSON in `{place}`, found text that is none: {error}") from None
