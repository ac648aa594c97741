"""LoRA fine-tuning with the stock Trainer, resumable after a kill at any moment (method.md step 8).

Folder layout:

    trainer/checkpoint-N/    the Trainer's own, removed in the end
    adapter/                 adapter_model.safetensors, adapter_config.json: PEFT loads it; digests.json
    training.json            written last: examples, steps, seconds, the loss by step, and which digests.json it is
    merged/                  later, by `g2is merge`
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from g2is.config import ExecutionConfig, TuningConfig
from g2is.errors import StoreError
from g2is.model.adapter import attach_adapter
from g2is.model.batches import Row
from g2is.model.folder import ModelFolder
from g2is.model.together import Schedule
from g2is.progress import Progress
from g2is.store.digests import DIGESTS, damaged_files, digest_of, record_digests
from g2is.store.files import read_json, remove, write_atomically, write_json
from g2is.store.given import part

if TYPE_CHECKING:  # what trains is imported when it trains
    from peft import PeftModel

ADAPTER = "adapter"
TRAINING = "training.json"
MERGED = "merged"
_DIGEST = "adapter_digest"
_SCHEDULES: dict[str, Schedule] = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
}


def finished_tuning(folder: Path) -> dict[str, Any] | None:
    """The record of a tuning that ran to its end in `folder`, or None. Raises StoreError if it is damaged."""
    if not (folder / TRAINING).exists():
        return None
    remove(folder / "trainer")  # if a kill left some of it
    record = read_json(folder / TRAINING)
    for name, kind in {"num_steps": int, "loss_by_step": list}.items():
        part(record, name, kind, folder / TRAINING)
    return record


def damaged_adapter(folder: Path) -> list[str]:
    """Which files of the finished tuning in `folder` are not as they were written, by their paths below it.

    Those of an older version were not noted, and are taken as they are.
    """
    try:
        noted = (finished_tuning(folder) or {}).get(_DIGEST)
    except StoreError:
        return [TRAINING]
    if noted is None:
        return []
    adapter = folder / ADAPTER
    if not (adapter / DIGESTS).is_file() or digest_of(adapter / DIGESTS) != noted:
        return [f"{ADAPTER}/{DIGESTS}"]
    return [f"{ADAPTER}/{name}" for name in damaged_files(adapter)]


def tune(
    model: ModelFolder,
    rows: Sequence[Row],
    folder: Path,
    config: TuningConfig,
    execution: ExecutionConfig,
    device: torch.device,
    progress: Progress,
    notice: Callable[[str], None],
    keep_beside: Callable[[Path], None] | None = None,
) -> "PeftModel":
    """Train a fresh adapter on `rows`, keep it in `folder` and return the model with it, in eval mode on `device`.

    `keep_beside` writes what else is to lie in the adapter's folder. Goes on from the last sound checkpoint in
    `folder`; `notice` is told of damaged ones. Raises ModelError where the model cannot be adapted as asked, and as
    `train_adapter`.
    """
    from g2is.model.trainer import save_adapter, train_adapter

    adapted = attach_adapter(model.load(device), config.lora, config.seed, "tuning")
    trainer_folder = folder / "trainer"
    state = train_adapter(
        *(adapted, rows, trainer_folder, config, _SCHEDULES[config.schedule], execution, progress),
        notice=notice,
        base=model.config,
    )
    by_step = [entry for entry in state.log_history if "learning_rate" in entry]

    def write(temporary: Path) -> None:
        save_adapter(adapted, temporary)
        if keep_beside is not None:
            keep_beside(temporary)
        record_digests(temporary, sorted(path.name for path in temporary.iterdir()))

    write_atomically(folder / ADAPTER, write)
    write_json(
        folder / TRAINING,
        {
            "num_examples": len(rows),
            "num_steps": state.global_step,
            "seconds": by_step[-1]["seconds"],
            "loss_by_step": [round(entry["loss"], 6) for entry in by_step],
            _DIGEST: digest_of(folder / ADAPTER / DIGESTS),
        },
    )
    remove(trainer_folder)
    return adapted.eval()
