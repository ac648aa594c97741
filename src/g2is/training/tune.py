"""LoRA fine-tuning with the stock Trainer, resumable after a kill at any moment (method.md step 8).

Folder layout:

    trainer/checkpoint-N/    the Trainer's own, removed in the end
    adapter/                 adapter_model.safetensors, adapter_config.json: PEFT loads it
    training.json            written last: examples, steps, seconds, the loss by step
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel

from g2is.config import ExecutionConfig, TuningConfig
from g2is.model.adapter import attach_adapter
from g2is.model.batches import Row
from g2is.model.folder import ModelFolder
from g2is.model.trainer import save_adapter, train_adapter
from g2is.progress import Progress
from g2is.store.files import read_json, remove, write_atomically, write_json

ADAPTER = "adapter"
_RECORD = "training.json"
_SCHEDULES: dict[str, Literal["linear", "cosine", "constant_with_warmup"]] = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
}


def finished_tuning(folder: Path) -> dict[str, Any] | None:
    """The record of a tuning that ran to its end in `folder`, or None."""
    if not (folder / _RECORD).exists():
        return None
    remove(folder / "trainer")  # if a kill left some of it
    return read_json(folder / _RECORD)


def tune(
    model: ModelFolder,
    rows: Sequence[Row],
    folder: Path,
    config: TuningConfig,
    execution: ExecutionConfig,
    device: torch.device,
    progress: Progress,
    keep_beside: Callable[[Path], None] | None = None,
) -> PeftModel:
    """Train a fresh adapter on `rows`, keep it in `folder` and return the model with it, in eval mode on `device`.

    `keep_beside` writes what else is to lie in the adapter's folder. Goes on from the last complete checkpoint in
    `folder`. Raises ModelError where the model cannot be adapted as asked, and as `train_adapter`.
    """
    adapted = attach_adapter(model.load(device), config.lora, config.seed, "tuning")
    trainer_folder = folder / "trainer"
    state = train_adapter(adapted, rows, trainer_folder, config, _SCHEDULES[config.schedule], execution, progress)
    by_step = [entry for entry in state.log_history if "learning_rate" in entry]

    def write(temporary: Path) -> None:
        save_adapter(adapted, temporary)
        if keep_beside is not None:
            keep_beside(temporary)

    write_atomically(folder / ADAPTER, write)
    write_json(
        folder / _RECORD,
        {
            "num_examples": len(rows),
            "num_steps": state.global_step,
            "seconds": by_step[-1]["seconds"],
            "loss_by_step": [round(entry["loss"], 6) for entry in by_step],
        },
    )
    remove(trainer_folder)
    return adapted.eval()
