"""axolotl: tokens with labels, which it takes as they are; and messages with marks, for a model with other tokens."""

from pathlib import Path
from typing import Any

from g2is.examples.conversation import ASSISTANT, Turn
from g2is.outputs.trainers.handover import (
    ROWS,
    TOKENS,
    HandedOver,
    Handover,
    message_of,
    write_rows,
    write_settings,
    write_tokens,
)

_SETTINGS = "axolotl.yaml"


def write(handover: Handover, folder: Path) -> HandedOver:
    """Write tokens, messages and axolotl.yaml."""
    write_tokens(folder / TOKENS, handover.rows)
    write_rows(
        folder / ROWS,
        (
            {
                "id": row.id,
                "messages": [_message(turn) for turn in row.conversation.turns],
                **({"tools": list(row.conversation.tools)} if row.conversation.tools else {}),
            }
            for row in handover.rows
        ),
    )
    model, tuning, lora = handover.model, handover.tuning, handover.tuning.lora
    settings: dict[str, Any] = {
        "base_model": model.name,
        **({} if model.revision is None else {"revision_of_model": model.revision}),
        **({"trust_remote_code": True} if model.trust_remote_code else {}),
        # with input_ids, attention_mask and labels rows are taken as tokens, whatever the type
        "datasets": [{"path": str(handover.folder / TOKENS), "ds_type": "parquet", "type": None}],
        "dataset_prepared_path": str(handover.folder / "prepared"),
        "val_set_size": 0,
        "train_on_inputs": False,
        "sequence_len": handover.max_length,
        "sample_packing": False,
        "adapter": "lora",
        "lora_r": lora.rank,
        "lora_alpha": int(lora.alpha),
        "lora_dropout": lora.dropout,
        "lora_target_modules": list(handover.modules),
        "num_epochs": tuning.epochs,
        "learning_rate": tuning.learning_rate,
        "lr_scheduler": handover.schedule,
        "warmup_steps": handover.warmup_steps,
        "micro_batch_size": tuning.device_batch_size,
        "gradient_accumulation_steps": handover.accumulation,
        "optimizer": "adamw_torch",
        "weight_decay": tuning.weight_decay,
        "max_grad_norm": tuning.max_grad_norm,
        "adam_beta1": tuning.beta1,
        "adam_beta2": tuning.beta2,
        "bf16": tuning.bf16,
        "seed": tuning.seed,
        "output_dir": str(handover.folder / "tuned"),
    }
    below = (
        "\nThe tokens are those of the model above. For another model, give axolotl the rows as messages, which it"
        " renders itself:\n"
        f"datasets:\n- path: {handover.folder / ROWS}\n  ds_type: json\n  type: chat_template\n"
        "  field_messages: messages\n  message_field_training: train\n  roles_to_train: [assistant]\n"
        "  train_on_eos: turn"
    )
    write_settings(folder / _SETTINGS, command := f"axolotl train {handover.quoted(_SETTINGS)}", settings, below)
    notices = []
    if num := sum(any(turn.prefill for turn in row.conversation.turns) for row in handover.rows):
        notices.append(
            f"{ROWS} cannot say of {num:,} rows that the beginning of an answer was given: there it would be learned."
            f" {TOKENS}, which axolotl.yaml names, says it"
        )
    return HandedOver(command, tuple(notices))


def _message(turn: Turn) -> dict[str, Any]:
    message = message_of(turn)
    return message | {"train": turn.is_learned} if turn.role == ASSISTANT else message | {"train": False}
