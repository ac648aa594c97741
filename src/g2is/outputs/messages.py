"""selected.messages.jsonl as a `datasets.Dataset`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2is.config.strict import parse_json
from g2is.errors import InputError
from g2is.outputs.examples import MESSAGES

if TYPE_CHECKING:
    from datasets import Dataset

_TEXTS = ("content", "prefill", "reasoning_content", "name", "tool_call_id")  # of a message, beside its role
_FLAGS = ("train",)
_ANYTHING = ("tool_calls",)


def read_messages(folder: Path) -> "Dataset":
    """The selected examples of a run. What a message lacks and another has is None, as datasets has it.

    Calls and tools are of the feature `Json`, so that none gets the keys of another. Raises InputError if the run holds
    no selected examples, or some with calls or tools where `datasets` is older than that feature.
    """
    import datasets  # takes a second
    from datasets import Dataset, Features, List, Value

    path = folder / MESSAGES
    try:
        with path.open(encoding="utf-8") as lines:
            rows: list[dict[str, Any]] = [parse_json(line) for line in lines]
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected the selected examples, found none: `g2is export {folder}` writes them"
        ) from None
    used = {key for row in rows for message in row["messages"] for key in message}
    has_tools = any("tools" in row for row in rows)
    if (has_tools or used & set(_ANYTHING)) and not hasattr(datasets, "Json"):  # LLaMA-Factory 0.9.5 takes up to 4.0
        raise InputError(
            f"{path}: expected datasets 4.7 or newer, whose feature Json holds tools and calls, found"
            f" {datasets.__version__}: upgrade it, or read this file, a row of JSON a line"
        )
    message = {
        "role": Value("string"),
        **{key: Value("string") for key in _TEXTS if key in used},
        **{key: Value("bool") for key in _FLAGS if key in used},
        **{key: datasets.Json() for key in _ANYTHING if key in used},
    }
    features = Features(
        {
            "id": Value("string"),
            "messages": List(message),
            **({"tools": datasets.Json()} if has_tools else {}),
            **({"target": Value("string")} if any("target" in row for row in rows) else {}),
        }
    )
    unknown = used - set(message)
    assert not unknown, unknown  # `examples.turns.as_read` writes no others
    filled = [
        {name: row.get(name) for name in features if name != "messages"}
        | {"messages": [{key: turn.get(key) for key in message} for turn in row["messages"]]}
        for row in rows
    ]
    return Dataset.from_list(filled, features=features)
