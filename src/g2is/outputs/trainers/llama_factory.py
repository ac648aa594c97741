"""LLaMA-Factory: tokens with labels, as it keeps them itself; and conversations for its own templates.

Its templates are its own, by name. Which one writes what the run's chat template wrote cannot be known from here, so
what it trains on by default is tokens (`tokenized_path`).
"""

import json
from pathlib import Path
from typing import Any

from g2is.examples.conversation import ASSISTANT, SYSTEM, TOOL, USER, Turn
from g2is.examples.messages import functions_called
from g2is.outputs.trainers.handover import (
    HandedOver,
    HandedRow,
    Handover,
    arguments,
    named,
    write_rows,
    write_settings,
)
from g2is.store.files import plain_json, write_text

_ROWS, _INFO, _TOKENS, _SETTINGS = "rows.jsonl", "dataset_info.json", "tokens", "train.yaml"
_NAME = "g2is_selection"
_ROLES = {SYSTEM: "system", USER: "human", ASSISTANT: "gpt", TOOL: "observation"}
_CALL = "function_call"
_ASKED = (("human", "observation"), ("gpt", _CALL))  # who speaks in turn, after the system


def write(handover: Handover, folder: Path) -> HandedOver:
    """Write tokens, conversations, dataset_info.json and train.yaml."""
    from datasets import Dataset  # takes a second

    columns = {
        "input_ids": [row.input_ids.tolist() for row in handover.rows],
        "attention_mask": [[1] * len(row.input_ids) for row in handover.rows],
        "labels": [row.labels for row in handover.rows],
    }
    Dataset.from_dict(columns).save_to_disk(str(folder / _TOKENS))
    rows = {row.id: _conversation(row) for row in handover.rows}
    write_rows(folder / _ROWS, (values for values in rows.values() if values is not None))
    write_text(
        folder / _INFO,
        plain_json(
            {
                _NAME: {
                    "file_name": _ROWS,
                    "formatting": "sharegpt",
                    "columns": {"messages": "conversations", "tools": "tools"},
                    "tags": {
                        **{"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"},
                        **{"observation_tag": "observation", "function_tag": _CALL, "system_tag": "system"},
                    },
                }
            }
        ),
    )
    command = f"llamafactory-cli train {handover.quoted(_SETTINGS)}"
    below = (
        "\nThe tokens are those of the model above. For another model, leave out tokenized_path and name the template"
        f" that LLaMA-Factory has for it: {_ROWS} has the rows as conversations."
    )
    write_settings(folder / _SETTINGS, command, _settings(handover), below)
    apart = [row for row in handover.rows if rows[row.id] is None]
    notice = (
        f"{len(apart):,} rows have no place in {_ROWS}, LLaMA-Factory's own layout: turns that do not alternate,"
        f" answers that are context only or begun, reasoning apart ({named(apart)}). {_TOKENS}, which"
        f" {_SETTINGS} names, has them"
    )
    return HandedOver(command, (notice,) if apart else ())


def _settings(handover: Handover) -> dict[str, Any]:
    model, lora = handover.model, handover.tuning.lora
    return {
        "model_name_or_path": model.name,
        **({} if model.revision is None else {"model_revision": model.revision}),
        **({"trust_remote_code": True} if model.trust_remote_code else {}),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": lora.rank,
        "lora_alpha": int(lora.alpha),
        "lora_dropout": lora.dropout,
        "lora_target": ",".join(handover.modules),
        "tokenized_path": str(handover.folder / _TOKENS),
        "dataset_dir": str(handover.folder),
        "dataset": _NAME,
        "template": "empty",
        "cutoff_len": handover.max_length,
        **arguments(handover),
    }


def _conversation(row: HandedRow) -> dict[str, Any] | None:
    """The row in LLaMA-Factory's layout; None where that has no place for it."""
    turns = row.conversation.turns
    if any(turn.context_only or turn.prefill or turn.reasoning for turn in turns):
        return None
    spoken = [_turn(turn) for turn in turns]
    asked = spoken[1:] if spoken[0]["from"] == "system" else spoken
    if len(asked) % 2 or any(turn["from"] not in _ASKED[at % 2] for at, turn in enumerate(asked)):
        return None
    # calls have no text beside them there
    if any(functions_called(turn) and turn.content.strip() for turn in turns):
        return None
    tools = json.dumps(list(row.conversation.tools), ensure_ascii=False, default=str) if row.conversation.tools else ""
    return {"conversations": spoken, "tools": tools}


def _turn(turn: Turn) -> dict[str, str]:
    if calls := functions_called(turn):
        made = [{"name": call["name"], "arguments": call.get("arguments", {})} for call in calls]
        return {"from": _CALL, "value": json.dumps(made, ensure_ascii=False, default=str)}
    return {"from": _ROLES[turn.role], "value": turn.content}
