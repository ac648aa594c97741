"""open-instruct's finetune.py: messages, rendered with the tokenizer's chat template.

It asks the tokenizer's folder for the model's settings too, so these lie there as well.

It renders a conversation and its beginnings, and learns what lies between the end of a turn that is no answer and the
beginning of the next such turn. That is seen here, row by row. The answers' tokens must be those of the run; what it
learns beside them, such as the line break after an end of turn, is said.
"""

from pathlib import Path
from typing import Any

from g2is.errors import InputError, pass_on_too_little_memory
from g2is.examples.conversation import ASSISTANT
from g2is.examples.jinja import reads_date
from g2is.outputs.trainers.handover import (
    ROWS,
    HandedOver,
    HandedRow,
    Handover,
    has_calls,
    is_marked,
    message_of,
    refuse,
    write_rows,
    write_settings,
)

_SETTINGS, _TOKENIZER = "finetune.yaml", "tokenizer"
_REMEDY = "leave them out, or take --for trl, which is given tokens where messages do not do"
_TRANSFORMS = ["sft_tulu_tokenize_and_truncate_v1", "sft_tulu_filter_v1"]


def write(handover: Handover, folder: Path) -> HandedOver:
    """Write rows, tokenizer and finetune.yaml. Raises InputError for what it cannot train as the run would."""
    if handover.template is None:
        raise InputError(
            "--for open-instruct: expected a run with a chat template, found examples.template="
            f"{handover.examples.template}, which it does not know: {_REMEDY}"
        )
    if reads_date(handover.template):
        raise InputError(
            "--for open-instruct: expected a chat template without a date, found one that would write the day of the"
            f" training, for the run's {handover.examples.date}: {_REMEDY}"
        )
    rows = handover.rows
    refuse("open-instruct", [row for row in rows if is_marked(row)], "with answers that are context only", _REMEDY)
    refuse("open-instruct", [row for row in rows if row.conversation.tools or has_calls(row)], "with tools", _REMEDY)
    found = {row.id: _tokens_and_mask(handover, row) for row in rows}
    differing = [row for row in rows if not _learns_all(row, found[row.id])]
    refuse("open-instruct", differing, "that it would render or cut otherwise", _REMEDY)
    write_rows(
        folder / ROWS,
        ({"id": row.id, "messages": [message_of(turn) for turn in row.conversation.turns]} for row in rows),
    )
    _save_tokenizer(handover, folder / _TOKENIZER)
    command = (
        "accelerate launch --num_processes 1 open_instruct/finetune.py"
        f" {handover.quoted(_SETTINGS)}  # in a clone of allenai/open-instruct"
    )
    write_settings(folder / _SETTINGS, command, _settings(handover))
    return HandedOver(command, tuple(_notices(handover, found)))


def _settings(handover: Handover) -> dict[str, Any]:
    model, tuning = handover.model, handover.tuning
    return {
        "model_name_or_path": model.name,
        **({} if model.revision is None else {"model_revision": model.revision}),
        "tokenizer_name_or_path": str(handover.folder / _TOKENIZER),
        **({"trust_remote_code": True} if model.trust_remote_code else {}),
        "use_flash_attn": False,
        "dataset_mixer_list": [str(handover.folder / ROWS), "1.0"],
        "dataset_mixer_list_splits": ["train"],
        "dataset_transform_fn": _TRANSFORMS,
        "max_seq_length": handover.max_length,
        "use_lora": True,
        "lora_rank": tuning.lora.rank,
        "lora_alpha": tuning.lora.alpha,
        "lora_dropout": tuning.lora.dropout,
        "num_train_epochs": tuning.epochs,
        "learning_rate": tuning.learning_rate,
        "lr_scheduler_type": handover.schedule,
        "warmup_ratio": tuning.lr_warmup_fraction,
        "per_device_train_batch_size": tuning.device_batch_size,
        "gradient_accumulation_steps": handover.accumulation,
        "weight_decay": tuning.weight_decay,
        "clip_grad_norm": tuning.max_grad_norm,
        "seed": tuning.seed,
        "output_dir": str(handover.folder / "tuned"),
        "do_not_randomize_output_dir": True,
        "push_to_hub": False,
        "try_launch_beaker_eval_jobs": False,
        "with_tracking": False,
    }


def _notices(handover: Handover, found: dict[str, tuple[list[int], list[bool]]]) -> list[str]:
    notices = [
        "open-instruct puts its adapter into the layers that it chooses, not into the run's. It takes the mean of the"
        " loss over each forward pass, where `g2is train` takes it over all tokens of a step",
    ]
    more = [(row, extra) for row in handover.rows if (extra := _learned_beside(row, found[row.id]))]
    if more:
        row, extra = more[0]
        text = handover.tokenizer.decode([int(row.input_ids[at]) for at in extra])
        notices.append(
            f"open-instruct also learns {sum(len(at) for _, at in more):,} tokens of {len(more):,} rows that the run"
            f" did not, all outside the answers and their ends of turn: in {row.id}, {text!r}"
        )
    return notices


def _tokens_and_mask(handover: Handover, row: HandedRow) -> tuple[list[int], list[bool]]:
    """The tokens of a row, and which of them are learned there; nothing where the template refuses a part of it."""
    messages = [message_of(turn) for turn in row.conversation.turns]
    try:
        ids = _render(handover, messages, False)
        learned = [True] * len(ids)
        for at, message in enumerate(messages):
            if message["role"] == ASSISTANT:
                continue
            begin = len(_render(handover, messages[:at], False)) if at else 0
            is_asked = at + 1 < len(messages) and messages[at + 1]["role"] == ASSISTANT
            end = len(_render(handover, messages[: at + 1], is_asked))
            learned[begin:end] = [False] * (min(end, len(ids)) - begin)
    except Exception as error:  # a template is foreign code and may raise anything
        pass_on_too_little_memory(error)
        return [], []
    return ids, learned[: len(ids)]


def _render(handover: Handover, messages: list[dict[str, Any]], prompt: bool) -> list[int]:
    found: list[int] = handover.tokenizer.apply_chat_template(
        messages, chat_template=handover.template, tokenize=True, add_generation_prompt=prompt, return_dict=False
    )
    return found


def _learns_all(row: HandedRow, found: tuple[list[int], list[bool]]) -> bool:
    ids, learned = found
    return ids == row.input_ids.tolist() and all(
        theirs for ours, theirs in zip(row.label_mask.tolist(), learned, strict=True) if ours
    )


def _learned_beside(row: HandedRow, found: tuple[list[int], list[bool]]) -> list[int]:
    """Where it learns what the run did not. The first token is learned by nobody."""
    ours = row.label_mask.tolist()
    return [at for at, theirs in enumerate(found[1]) if at and theirs and not ours[at]]


def _save_tokenizer(handover: Handover, path: Path) -> None:
    """Save the tokenizer with the run's chat template, and the model's settings: open-instruct reads both there."""
    handover.model_settings.save_pretrained(path)
    tokenizer = handover.tokenizer
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = handover.template
        tokenizer.save_pretrained(path)
    finally:
        tokenizer.chat_template = own
