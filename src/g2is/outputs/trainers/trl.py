"""TRL's `trl sft`: conversations with `assistant_only_loss`, or tokens with labels where these would differ.

TRL learns what the template marks with {% generation %}. Whether that is what the run learned is seen here, row by
row, by the call that TRL makes. It cannot leave an answer out, nor learn only the end of one, and it cuts long rows at
one end.
"""

import json
from pathlib import Path
from typing import Any

from g2is.errors import pass_on_too_little_memory
from g2is.examples.jinja import has_markers, reads_date
from g2is.outputs.trainers.handover import (
    ROWS,
    TEMPLATE,
    TOKENS,
    HandedOver,
    HandedRow,
    Handover,
    arguments,
    has_calls,
    message_of,
    named,
    write_rows,
    write_settings,
    write_tokens,
)
from g2is.store.files import write_text

_SETTINGS = "sft.yaml"


def write(handover: Handover, folder: Path) -> HandedOver:
    """Write rows and sft.yaml."""
    why = _why_not_messages(handover)
    if why is None:
        write_rows(folder / ROWS, ({"id": row.id, **_messages(row)} for row in handover.rows))
        data = {"path": "json", "data_files": str(handover.folder / ROWS)}
        assert handover.template is not None
        write_text(folder / TEMPLATE, handover.template)
        columns = ["messages", *(["tools"] if any(row.conversation.tools for row in handover.rows) else [])]
        masks = {"assistant_only_loss": True, "chat_template_path": str(handover.folder / TEMPLATE)}
    else:
        write_tokens(folder / TOKENS, handover.rows)
        data = {"path": "parquet", "data_files": str(handover.folder / TOKENS)}
        columns, masks = ["input_ids", "labels"], {}
    model, lora = handover.model, handover.tuning.lora
    command = f"trl sft --config {handover.quoted(_SETTINGS)}"
    settings: dict[str, Any] = {
        "model_name_or_path": model.name,
        **({} if model.revision is None else {"model_revision": model.revision}),
        **({"trust_remote_code": True} if model.trust_remote_code else {}),
        **({} if model.dtype == "auto" else {"dtype": model.dtype}),
        "datasets": [{**data, "columns": columns}],
        **masks,
        "max_length": handover.max_length,
        "packing": False,
        **arguments(handover),
        "use_peft": True,
        "lora_r": lora.rank,
        "lora_alpha": int(lora.alpha),
        "lora_dropout": lora.dropout,
        "lora_target_modules": list(handover.modules),
    }
    write_settings(folder / _SETTINGS, command, settings)
    return HandedOver(command, () if why is None else (f"TRL gets tokens with labels, {why}",))


def _why_not_messages(handover: Handover) -> str | None:
    """Why the rows cannot be given as messages, None if TRL learns of these what the run learned."""
    if handover.template is None:
        return f"since it knows no template such as examples.template={handover.examples.template}"
    if not handover.is_models_tokenizer:
        return "since it takes the model's tokenizer, and the run took that of its adapter"
    if not has_markers(handover.template):
        return "since the chat template does not mark what is learned with {% generation %}"
    if reads_date(handover.template):
        return f"since the chat template writes the day's date, for the run's {handover.examples.date}"
    if calling := [row for row in handover.rows if has_calls(row)]:
        return f"since rows with tool calls would get each other's keys ({named(calling)})"
    rows = [_messages(row) for row in handover.rows]
    keys = sorted({key for row in rows for message in row["messages"] for key in message})
    differing = []
    for row, values in zip(handover.rows, rows, strict=True):
        # datasets gives every message every key
        messages = [{key: message.get(key) for key in keys} for message in values["messages"]]
        if not _learns_the_same(handover, row, messages, values.get("tools")):
            differing.append(row)
    if differing:
        return f"since it would learn {len(differing):,} of the {len(rows):,} rows otherwise ({named(differing)})"
    return None


def _messages(row: HandedRow) -> dict[str, Any]:
    values: dict[str, Any] = {"messages": [message_of(turn) for turn in row.conversation.turns]}
    if row.conversation.tools:  # as text, since datasets would give each tool the keys of all others
        values["tools"] = json.dumps(list(row.conversation.tools), ensure_ascii=False, default=str)
    return values


def _learns_the_same(handover: Handover, row: HandedRow, messages: list[dict[str, Any]], tools: str | None) -> bool:
    try:
        found = handover.tokenizer.apply_chat_template(
            messages,
            tools=None if tools is None else json.loads(tools),
            chat_template=handover.template,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
    except Exception as error:  # a template is foreign code and may raise anything
        pass_on_too_little_memory(error)
        return False
    # the first token is learned by nobody: nothing predicts it
    learned = list(map(bool, found["assistant_masks"]))[1:]
    return found["input_ids"] == row.input_ids.tolist() and learned == row.label_mask.tolist()[1:]
