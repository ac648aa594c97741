"""ms-swift: what the model sees as text, cut into turns that are learned and turns that are not.

Its chat templates are its own, by model. So rows are given as the run rendered them, and swift is asked for none
(`use_chat_template: false`): what comes first is the user's turn, what follows are turns of the assistant, each with
its `loss`. swift puts the tokenizer's BOS in front and EOS at the end, so these are left out of the text. That the
tokens come out the same is seen here, row by row.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2is.errors import InputError
from g2is.examples.conversation import ASSISTANT, SYSTEM, TOOL, USER, Turn
from g2is.examples.messages import functions_called
from g2is.outputs.trainers.handover import (
    IGNORED,
    ROWS,
    HandedOver,
    HandedRow,
    Handover,
    arguments,
    refuse,
    write_rows,
    write_settings,
)

_RENDERED, _SETTINGS = "rendered.jsonl", "sft.yaml"
_NAMES = {SYSTEM: "system", USER: "user", ASSISTANT: "assistant", TOOL: "tool"}
_REMEDY = "leave them out, or take --for trl, which is given tokens where text does not do"
# architectures of which swift knows several kinds and asks which one, where it does not know the model by its name; the
# kind that has nothing of its own is called as transformers calls the architecture
_SEVERAL_KINDS = ("llama", "mistral", "mixtral", "phi3", "qwen2", "qwen3")

Segments = list[tuple[str, bool]]


def write(handover: Handover, folder: Path) -> HandedOver:
    """Write the rendered rows, the rows as messages, and sft.yaml. Raises InputError for rows that would differ."""
    if not handover.is_models_tokenizer:
        raise InputError(
            "--for ms-swift: expected a run with the model's tokenizer, found that of the adapter it was made with:"
            " take --for trl, which is given tokens then"
        )
    tokenizer = handover.tokenizer
    before, after = _added(tokenizer)
    segments = {row.id: _segments(row, tokenizer, before, after) for row in handover.rows}
    differing = []
    for row in handover.rows:
        found = segments[row.id]
        if found is None or _learned(found, _ids_of(tokenizer), before, after) != _wanted(row):
            differing.append(row)
    refuse(
        "ms-swift",
        differing,
        "that end without the tokenizer's EOS, or whose text has other tokens in pieces",
        _REMEDY,
    )
    write_rows(folder / _RENDERED, ({"messages": _as_turns(segments[row.id] or [])} for row in handover.rows))
    write_rows(folder / ROWS, (_as_messages(row) for row in handover.rows))
    command = f"swift sft {handover.quoted(_SETTINGS)}"
    below = (
        f"\n{_RENDERED} is text as the model above saw it. For another model give {ROWS} as the dataset and leave"
        " template, use_chat_template and model_type out: swift renders it with the template that it has for that"
        " model. Where it names several types that the model could be of, give one of these as model_type."
    )
    write_settings(folder / _SETTINGS, command, _settings(handover), below)
    return HandedOver(command)


def _settings(handover: Handover) -> dict[str, Any]:
    model, lora = handover.model, handover.tuning.lora
    kind = handover.model_settings.model_type
    return {
        "model": model.name,
        **({"model_type": kind} if kind in _SEVERAL_KINDS else {}),
        "use_hf": True,
        **({} if model.revision is None else {"model_revision": model.revision}),
        "dataset": [str(handover.folder / _RENDERED)],
        "split_dataset_ratio": 0,
        "template": "dummy",  # its plain one: of several that a model could have it asks which, even where none is used
        "use_chat_template": False,
        "loss_scale": "default",
        "max_length": handover.max_length,
        "truncation_strategy": "delete",  # nothing is longer
        "packing": False,
        "tuner_type": "lora",
        "lora_rank": lora.rank,
        "lora_alpha": int(lora.alpha),
        "lora_dropout": lora.dropout,
        "target_modules": list(handover.modules),
        **arguments(handover),
        "fp16": False,  # else it follows the model's dtype, and a float32 model is trained in float16
    }


def _added(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What swift puts before and after a row: the tokenizer's own BOS; its own EOS, or else the EOS token."""
    whole = list(tokenizer.encode("a"))
    bare = list(tokenizer.encode("a", add_special_tokens=False))
    at = whole.index(bare[0])
    return whole[:at], whole[at + len(bare) :] or [tokenizer.eos_token_id]


def _segments(row: HandedRow, tokenizer: Any, before: list[int], after: list[int]) -> Segments | None:
    """The row's text in pieces, each learned or not; None if it does not end as swift ends rows: it adds no EOS to one.

    What stands after the last learned token is left out: nothing is learned from it.
    """
    ids, mask = row.input_ids.tolist(), row.label_mask.tolist()
    end = max(at for at, learned in enumerate(mask) if learned) + 1
    begin = len(before)
    if ids[:begin] != before or ids[end - len(after) : end] != after or any(mask[:begin]):
        return None
    end -= len(after)
    pieces: Segments = []
    while begin < end:
        until = next((at for at in range(begin, end) if mask[at] != mask[begin]), end)
        text = tokenizer.decode(ids[begin:until], clean_up_tokenization_spaces=False)
        pieces.append((text, mask[begin]))
        begin = until
    if pieces and pieces[-1][0].endswith(tokenizer.eos_token):
        return None
    return pieces if pieces and pieces[0][1] is False else [("", False), *pieces]


def _learned(
    segments: Segments, ids_of: Callable[[str], list[int]], before: list[int], after: list[int]
) -> tuple[list[int], list[int]]:
    """The tokens and labels that swift makes of the pieces."""
    ids, labels = list(before), [IGNORED] * len(before)
    for text, learned in segments:
        found = ids_of(text)
        ids += found
        labels += found if learned else [IGNORED] * len(found)
    ids, labels = ids + after, labels + after
    labels[0] = IGNORED
    # an EOS right after something learned is learned by swift, whatever its turn says
    for at in range(1, len(ids) - len(after) + 1):
        if labels[at - 1] != IGNORED and labels[at] == IGNORED and ids[at : at + len(after)] == after:
            labels[at : at + len(after)] = after
    return ids, labels


def _wanted(row: HandedRow) -> tuple[list[int], list[int]]:
    end = int(row.label_mask.nonzero()[0][-1]) + 1
    return row.input_ids[:end].tolist(), row.labels[:end]


def _ids_of(tokenizer: Any) -> Callable[[str], list[int]]:
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"] if text else []


def _as_turns(segments: Segments) -> list[dict[str, Any]]:
    (question, _), *answers = segments
    return [
        {"role": "user", "content": question},
        *({"role": "assistant", "content": text, "loss": learned} for text, learned in answers),
    ]


def _as_messages(row: HandedRow) -> dict[str, Any]:
    messages = [message for turn in row.conversation.turns for message in _messages(turn)]
    tools = {"tools": list(row.conversation.tools)} if row.conversation.tools else {}
    return {"id": row.id, "messages": messages, **tools}


def _messages(turn: Turn) -> list[dict[str, Any]]:
    thought = f"<think>\n{turn.reasoning}\n</think>\n\n" if turn.reasoning else ""
    loss = {"loss": turn.is_learned} if turn.role == ASSISTANT else {}
    made: list[dict[str, Any]] = []
    calls = functions_called(turn)
    if turn.prefill:
        made.append({"role": "assistant", "content": turn.prefill, "loss": False})
    if turn.content or thought or not calls:
        text = thought + turn.content.removeprefix(turn.prefill)
        made.append({"role": _NAMES[turn.role], "content": text, **loss})
    for call in calls:
        made.append({"role": "tool_call", "content": {"name": call["name"], "arguments": call.get("arguments")}} | loss)
    return made
