"""The warm-up: a short LoRA training with the stock Trainer, resumable after a kill at any moment (method.md step 1).

Folder layout below `warmup/`:

    sample.json              keys of the pool rows drawn, written before training: a pool that grows redraws nothing
    trainer/checkpoint-N/    the Trainer's own; counts only with the file `complete` in it; removed in the end
    epoch-E/                 adapter_model.safetensors, adapter_config.json, moments.safetensors
    complete.json            written last: the kept checkpoints, their digests, their mean learning rates, the losses
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from g2is.config import ExecutionConfig, WarmupConfig
from g2is.errors import ModelError, StoreError
from g2is.model.batches import Row, pad_batch
from g2is.model.parameters import trainable_parameters, without_gradient
from g2is.progress import Progress
from g2is.store.files import fsync, read_json, remove, write_atomically, write_json
from g2is.store.moments import adapter_digest, save_moments
from g2is.warmup.moments import moments_of

SAMPLE = "sample.json"
COMPLETE = "complete"  # marks a checkpoint of the Trainer, which writes them in place


@dataclass(frozen=True)
class Checkpoint:
    """A kept adapter with its moments.

    `weight` is the mean learning rate of its epoch over the sum of all kept epochs' (method.md, several checkpoints);
    `digest` is a hash of adapter and moments.
    """

    name: str
    folder: Path
    weight: float
    digest: str

    def check(self) -> None:
        """Raise StoreError if adapter or moments are not what was kept."""
        found = adapter_digest(self.folder)
        if found != self.digest:
            raise StoreError(
                f"{self.folder}: expected the adapter and moments that the warm-up kept ({self.digest}), found them"
                f" damaged or changed ({found}). Put them back, or name another --store"
            )


def sample_size(num_rows: int, fraction: float) -> int:
    """How many of `num_rows` the warm-up draws: the `fraction`, rounded down, at least one."""
    return max(1, int(num_rows * fraction))


def draw_rows(folder: Path, keys: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The pool rows to warm up on, (n,) int64, drawn at random without repetition.

    `keys` is (N, 16) uint8. The draw is kept in `folder`, so that a pool that grew while the warm-up was interrupted
    draws nothing anew. Raises StoreError if a drawn row is no longer in the pool.
    """
    record = folder / SAMPLE
    if not record.exists():
        size = sample_size(len(keys), fraction)
        drawn = np.sort(np.random.default_rng(seed).choice(len(keys), size=size, replace=False))
        write_json(record, {"keys": [keys[row].tobytes().hex() for row in drawn]})
        return drawn
    row_of = {key.tobytes().hex(): row for row, key in reversed(list(enumerate(keys)))}
    wanted = read_json(record)["keys"]
    missing = [key for key in wanted if key not in row_of]
    if missing:
        raise StoreError(
            f"{record}: expected the {len(wanted)} pool rows that the interrupted warm-up was trained on, found"
            f" {len(missing)} of them gone from the pool or excluded. Give the pool it was started with, or name"
            " another --store"
        )
    return np.array([row_of[key] for key in wanted], np.int64)


def drawn_keys(folder: Path) -> np.ndarray:
    """The content keys of the rows that the warm-up in `folder` was trained on, (n, 16) uint8."""
    keys = read_json(folder / SAMPLE)["keys"]
    return np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(len(keys), -1)


def finished_warmup(folder: Path) -> list[Checkpoint] | None:
    """The checkpoints of a warm-up that ran to its end, or None."""
    if not (folder / "complete.json").exists():
        return None
    remove(folder / "trainer")  # if a kill left some of it
    return [
        Checkpoint(entry["name"], folder / entry["name"], entry["weight"], entry["digest"])
        for entry in read_json(folder / "complete.json")["checkpoints"]
    ]


def train_warmup(
    model: PeftModel,
    rows: Sequence[Row],
    folder: Path,
    config: WarmupConfig,
    execution: ExecutionConfig,
    progress: Progress,
) -> list[Checkpoint]:
    """Train the adapter of `model` on `rows` and keep it, with Adam's moments, for the last epoch or each.

    Goes on from the last complete checkpoint in `folder`. Batch order, dropout and optimizer come out bit for bit as
    in an undisturbed run on the same machine, threads and versions.
    """
    trainer_folder = folder / "trainer"
    resume_from = _keep_last_complete(trainer_folder)
    keep_each = config.checkpoints == "each"
    callback = _Keeper(folder, trainable_parameters(model), keep_each, progress)
    trainer = Trainer(
        model=model,
        args=_arguments(trainer_folder, config, execution, next(model.parameters())),
        train_dataset=list(rows),
        data_collator=_collate,
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)  # progress is ours to report
    trainer.train(resume_from_checkpoint=resume_from)
    history = [entry for entry in trainer.state.log_history if "learning_rate" in entry]
    names = [f"epoch-{epoch}" for epoch in range(1, config.epochs + 1)]
    kept = names if keep_each else names[-1:]
    rates = {name: _mean_rate(history, epoch) for epoch, name in enumerate(names, start=1)}
    total = sum(rates[name] for name in kept)
    checkpoints = [
        Checkpoint(
            name, folder / name, rates[name] / total if total > 0 else 1 / len(kept), adapter_digest(folder / name)
        )
        for name in kept
    ]
    record = {
        "checkpoints": [{"name": c.name, "weight": c.weight, "digest": c.digest} for c in checkpoints],
        "num_examples": len(rows),
        "num_steps": trainer.state.global_step,
        "loss_by_step": [round(entry["loss"], 6) for entry in history],
    }
    write_json(folder / "complete.json", record)
    remove(trainer_folder)
    return checkpoints


class _Keeper(TrainerCallback):
    """Marks the Trainer's checkpoints as complete, keeps adapter and moments at the end of epochs, reports progress."""

    def __init__(self, folder: Path, parameters: dict[str, Any], keep_each: bool, progress: Progress) -> None:
        self._folder = folder
        self._parameters = parameters
        self._keep_each = keep_each
        self._progress = progress

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        fsync(checkpoint)
        (checkpoint / COMPLETE).touch()
        fsync(checkpoint)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        unused = [name for name, parameter in self._parameters.items() if parameter.grad is None]
        if unused:
            raise without_gradient(unused)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        # Here and not at the epoch's end: the Trainer saves its checkpoint between the two, and a run resumed from it
        # would never come to this epoch's end again.
        epoch, rest = divmod(state.global_step * int(args.num_train_epochs), state.max_steps)
        if rest == 0 and (self._keep_each or epoch == args.num_train_epochs):
            self._keep(epoch, objects["model"], objects["optimizer"])
        self._progress(state.global_step, state.max_steps)

    def _keep(self, epoch: int, model: PeftModel, optimizer: Any) -> None:
        target = self._folder / f"epoch-{epoch}"
        if target.exists():
            return
        if not all(bool(parameter.isfinite().all()) for parameter in self._parameters.values()):
            raise ModelError(
                "expected a warm-up that ends in numbers, found NaN or Inf in the adapter: the training diverged. Lower"
                " warmup.learning_rate, or set model.dtype to float32"
            )

        def write(temporary: Path) -> None:
            model.save_pretrained(str(temporary))
            (temporary / "README.md").unlink(missing_ok=True)
            _sort_target_modules(temporary / "adapter_config.json")
            inner = getattr(optimizer, "optimizer", optimizer)  # Accelerate wraps it
            save_moments(moments_of(inner, self._parameters), temporary / "moments.safetensors")

        write_atomically(target, write)


def _arguments(
    folder: Path, config: WarmupConfig, execution: ExecutionConfig, weight: torch.Tensor
) -> TrainingArguments:
    # the largest batch within the limit that divides the optimizer step's examples
    device_batch = max(
        size for size in range(1, min(config.batch_size, config.device_batch_size) + 1) if config.batch_size % size == 0
    )
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=config.batch_size // device_batch,
        learning_rate=config.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=config.lr_warmup_fraction,  # below 1: a share of all steps
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta1=config.beta1,
        adam_beta2=config.beta2,
        optim="adamw_torch",
        bf16=weight.dtype == torch.bfloat16,
        use_cpu=weight.device.type == "cpu",
        save_strategy="steps",
        save_steps=execution.resume_steps,
        save_total_limit=2,  # the one being written is not complete before the one before it may go
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=weight.device.type == "cuda",
        seed=config.seed,
        data_seed=config.seed,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # else the Trainer splits each batch over every visible device, and the loss changes
    return arguments


def _collate(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    batch = pad_batch(rows)
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": batch.labels}


def _sort_target_modules(path: Path) -> None:
    """PEFT writes them as a set, in an order that changes from process to process."""
    settings = read_json(path)
    settings["target_modules"] = sorted(settings["target_modules"])
    write_json(path, settings)


def _keep_last_complete(folder: Path) -> str | None:
    """Remove every checkpoint but the last complete one, and return its path, if there is one.

    An older one may be half removed by the Trainer's rotation: its marker goes first, lest it be taken for whole later.
    """
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")))
    complete = [checkpoint for checkpoint in checkpoints if (checkpoint / COMPLETE).exists()]
    for checkpoint in checkpoints:
        if checkpoint not in complete[-1:]:
            remove(checkpoint / COMPLETE)
            remove(checkpoint)
    return str(complete[-1]) if complete else None


def _mean_rate(history: Sequence[dict[str, Any]], epoch: int) -> float:
    rates = [entry["learning_rate"] for entry in history if epoch - 1 < entry["epoch"] <= epoch + 1e-9]
    return float(np.mean(rates)) if rates else 0.0
