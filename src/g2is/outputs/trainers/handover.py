"""What every trainer gets of a run, and how its files are written."""

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from g2is.config import ExamplesConfig, ModelConfig, TuningConfig
from g2is.errors import InputError
from g2is.examples.conversation import ASSISTANT, Conversation, Turn
from g2is.examples.messages import functions_called
from g2is.store.files import write_text

IGNORED = -100  # the label of a token that is not learned, in every trainer
ROWS, TOKENS, TEMPLATE = "rows.jsonl", "tokens.parquet", "chat_template.jinja"
_NAMED = 3  # rows that a message names


@dataclass(frozen=True, eq=False)
class HandedRow:
    """A selected row: `input_ids` (T,) int32 and `label_mask` (T,) bool are what the run's model saw and learned."""

    id: str
    conversation: Conversation
    input_ids: np.ndarray
    label_mask: np.ndarray

    @property
    def labels(self) -> list[int]:
        """The tokens that are learned, IGNORED for all others."""
        return np.where(self.label_mask, self.input_ids, IGNORED).tolist()


@dataclass(frozen=True, eq=False)
class Handover:
    """A run's selection, for a trainer.

    `rows` in the order of the selection; `tokenizer` is transformers', as the run used it, `template` its chat
    template, None where the run used a plain one; `is_models_tokenizer` says that it is the one beside the model's
    weights, not an adapter's. `model_settings` are the model's as transformers has them. `max_length` in tokens.
    `tuning` is how `g2is train` would train, `modules` the layers that its adapter would have. `folder` is where the
    files will lie, as the configuration has to name them.
    """

    folder: Path
    model: ModelConfig
    examples: ExamplesConfig
    tuning: TuningConfig
    modules: tuple[str, ...]
    tokenizer: Any
    is_models_tokenizer: bool
    model_settings: Any
    template: str | None
    max_length: int
    rows: Sequence[HandedRow]

    def quoted(self, name: str) -> str:
        """Where the file `name` will lie, as a shell takes it."""
        return shlex.quote(str(self.folder / name))

    @property
    def accumulation(self) -> int:
        """Forward passes an optimizer step, on one device."""
        return -(-self.tuning.batch_size // self.tuning.device_batch_size)

    @property
    def schedule(self) -> str:
        """The learning rate's schedule by transformers' name, whose `constant` alone has no warm-up."""
        return "constant_with_warmup" if self.tuning.schedule == "constant" else self.tuning.schedule

    @property
    def warmup_steps(self) -> int:
        """Steps in which the learning rate rises: a number, since trainers differ in what they call a share."""
        num_steps = self.tuning.epochs * -(-len(self.rows) // self.tuning.batch_size)
        return math.ceil(self.tuning.lr_warmup_fraction * num_steps) if num_steps > 1 else 0


@dataclass(frozen=True)
class HandedOver:
    """What was written: the command to train with it, and what the user should know."""

    command: str
    notices: tuple[str, ...] = ()


Write = Callable[[Handover, Path], HandedOver]  # writes into the folder, which is empty


def named(rows: Sequence[HandedRow]) -> str:
    """Some rows, as a message names them."""
    told = ", ".join(row.id for row in rows[:_NAMED])
    return told if len(rows) <= _NAMED else f"{told} and {len(rows) - _NAMED:,} more"


def refuse(tool: str, rows: Sequence[HandedRow], what: str, remedy: str) -> None:
    """Raise InputError if there are such `rows`, which `tool` cannot train as the run would."""
    if rows:
        raise InputError(
            f"--for {tool}: expected rows that it can train as the run would, found {len(rows):,} {what}"
            f" ({named(rows)}): {remedy}"
        )


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows))


def write_tokens(path: Path, rows: Sequence[HandedRow]) -> None:
    """Write a Parquet table of ids, input_ids, attention_mask and labels."""
    lists = pa.list_(pa.int64())
    table = pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "input_ids": pa.array([row.input_ids.tolist() for row in rows], lists),
            "attention_mask": pa.array([[1] * len(row.input_ids) for row in rows], lists),
            "labels": pa.array([row.labels for row in rows], lists),
        }
    )
    pq.write_table(table, path)


def write_settings(path: Path, command: str, settings: Mapping[str, Any], below: str = "") -> None:
    """Write a trainer's YAML, with the command that it is for at its head and remarks `below`."""
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=1000)
    write_text(path, _remarks(command) + text + _remarks(below))


def _remarks(lines: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines.splitlines())


def arguments(handover: Handover) -> dict[str, Any]:
    """What trainers on transformers' own Trainer call a training's settings, by their names there."""
    tuning = handover.tuning
    return {
        "num_train_epochs": tuning.epochs,
        "learning_rate": tuning.learning_rate,
        "lr_scheduler_type": handover.schedule,
        "warmup_steps": handover.warmup_steps,
        "per_device_train_batch_size": tuning.device_batch_size,
        "gradient_accumulation_steps": handover.accumulation,
        "weight_decay": tuning.weight_decay,
        "max_grad_norm": tuning.max_grad_norm,
        "adam_beta1": tuning.beta1,
        "adam_beta2": tuning.beta2,
        "bf16": tuning.bf16,
        "seed": tuning.seed,
        "output_dir": str(handover.folder / "tuned"),
        "report_to": "none",
    }


def message_of(turn: Turn) -> dict[str, Any]:
    """A turn as OpenAI and most trainers have it, without marks of what is learned."""
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.reasoning:
        message["reasoning_content"] = turn.reasoning
    return message | dict(turn.extra)


def has_calls(row: HandedRow) -> bool:
    """Whether a turn of the row calls tools."""
    return any(functions_called(turn) for turn in row.conversation.turns)


def is_marked(row: HandedRow) -> bool:
    """Whether the row learns less than every answer: one is context only, or has a given beginning."""
    return any(turn.context_only or turn.prefill for turn in row.conversation.turns if turn.role == ASSISTANT)
