"""The stock Trainer, as warm-up and tuning use it: quiet, and resumable after a kill at any moment."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from g2is.config import ExecutionConfig, TuningConfig, WarmupConfig
from g2is.errors import ConfigError, G2isError, ModelError, TooLittleMemoryError, first_line, tells_of_memory
from g2is.model.batches import Batch, Row, pad_batch
from g2is.model.checkpoints import digest_of_rows, keep_sound, seal
from g2is.model.losses import token_losses
from g2is.model.parameters import trainable_parameters, without_gradient
from g2is.model.step_order import StepOrder
from g2is.progress import Progress
from g2is.store.files import plain_json, read_json, write_text

_LOG_FOLDERS = ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR")


def train_adapter(
    model: PeftModel,
    rows: Sequence[Row],
    folder: Path,
    config: WarmupConfig | TuningConfig,
    schedule: Literal["linear", "cosine", "constant_with_warmup"],
    execution: ExecutionConfig,
    progress: Progress,
    *callbacks: TrainerCallback,
    notice: Callable[[str], None],
) -> TrainerState:
    """Train the adapter of `model` on `rows`, from the last sound checkpoint in `folder` if there is one.

    `notice` is told of checkpoints that are damaged.

    Batch order, dropout and optimizer come out bit for bit as in an undisturbed run on the same machine, threads and
    versions. Raises ModelError if the loss does not reach a trainable parameter, the training diverges, or a step does
    not fit in memory; TooLittleMemoryError if that step comes after a complete checkpoint; ConfigError as
    `check_reporting`.
    """
    rows_digest = digest_of_rows(rows)
    resume_from = keep_sound(folder, rows_digest, notice)
    check_reporting(execution)
    with _logging_below(folder.parent / "logs", execution.report_to):
        trainer = _SortedSteps(
            model=model,
            args=_arguments(folder, config, schedule, execution, next(model.parameters()), len(rows)),
            train_dataset=list(rows),
            data_collator=_collate,
            callbacks=[_Watch(trainable_parameters(model), rows_digest, progress), *callbacks],
        )
        trainer.remove_callback(PrinterCallback)  # progress is ours to report
        trainer.model_accepts_loss_kwargs = True  # else the step's tokens are not counted for every model
        try:
            trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
        except Exception as error:
            if not tells_of_memory(error):
                raise
            raise _too_little_memory(folder, config, trainer.args.train_batch_size, rows, error) from None
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else it goes on in mixed precision
    return trainer.state


def _too_little_memory(
    folder: Path, config: WarmupConfig | TuningConfig, device_batch: int, rows: Sequence[Row], error: Exception
) -> G2isError:
    section, flag = ("warmup", "--store") if isinstance(config, WarmupConfig) else ("tuning", "--out")
    longest = max(len(ids) for ids, _ in rows)
    found = (
        f"expected memory for {device_batch} examples of up to {longest} tokens in a training step, found too little"
    )
    lower = f"{section}.device_batch_size, examples.max_length or {section}.lora.rank"
    if (checkpoint := keep_sound(folder, digest_of_rows(rows), lambda _: None)) is None:
        return ModelError(f"{found}. Lower {lower}, or use a device with more ({first_line(error)})")
    return TooLittleMemoryError(
        f"{found}. {checkpoint} is kept: where there is more memory, the same command goes on from it. Or lower"
        f" {lower}, with another {flag} ({first_line(error)})"
    )


def check_reporting(execution: ExecutionConfig) -> None:
    """Raise ConfigError if a package that the training is to log to is not there."""
    for package in execution.report_to:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"execution.report_to: expected the package {package}, found it not installed; pip install {package},"
                " or leave it out"
            )


@contextmanager
def _logging_below(folder: Path, packages: Sequence[str]) -> Iterator[None]:
    """The Trainer's callbacks take the place of their files from the environment, and from nowhere else."""
    before = {name: os.environ.get(name) for name in _LOG_FOLDERS}
    if packages:
        folder.mkdir(parents=True, exist_ok=True)  # wandb goes elsewhere if it is not there
        os.environ.update(dict.fromkeys(_LOG_FOLDERS, str(folder)))
    try:
        yield
    finally:
        if "wandb" in packages and (wandb := sys.modules.get("wandb")) is not None:
            wandb.finish()  # else what it logged is written when the process ends, and the next training joins this run
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Save the adapter as PEFT does, the same bytes for the same adapter.

    Raises ModelError if it holds NaN or Inf.
    """
    if not all(bool(parameter.isfinite().all()) for parameter in trainable_parameters(model).values()):
        raise ModelError(
            "expected a training that ends in numbers, found NaN or Inf in the adapter: it diverged. Lower the"
            " learning_rate, or set model.dtype to float32"
        )
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    settings = read_json(folder / "adapter_config.json")
    settings["target_modules"] = sorted(settings["target_modules"])  # a set, in an order that changes with the process
    write_text(folder / "adapter_config.json", plain_json(settings))  # PEFT's own


class _SortedSteps(Trainer):
    """The Trainer with its hooks for the order of rows and for the loss filled in."""

    loss_is_scaled_for_ga = True

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The stock loss, the mean over all learned tokens of the optimizer step, without logits for other tokens."""
        return token_losses(model, Batch(**inputs)).sum() / num_items_in_batch

    def _get_train_sampler(self, train_dataset: Any = None) -> StepOrder:
        rows = self.train_dataset if train_dataset is None else train_dataset
        step_rows = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return StepOrder([len(ids) for ids, _ in rows], step_rows, self.args.seed)


class _Watch(TrainerCallback):
    """Marks the Trainer's checkpoints as complete, reports progress, and notes each step's seconds since the start.

    The notes lie in the Trainer's own history, so that a training that was stopped goes on counting.
    """

    def __init__(self, parameters: dict[str, Any], rows_digest: str, progress: Progress) -> None:
        self._parameters = parameters
        self._rows_digest = rows_digest
        self._progress = progress

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        taken = state.log_history[-1]["seconds"] if state.log_history else 0.0
        self._begin = monotonic() - taken

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        state.log_history[-1]["seconds"] = round(monotonic() - self._begin, 2)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        seal(checkpoint, self._rows_digest)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        unused = [name for name, parameter in self._parameters.items() if parameter.grad is None]
        if unused:
            raise without_gradient(unused)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._progress(state.global_step, state.max_steps)


def _arguments(
    folder: Path,
    config: WarmupConfig | TuningConfig,
    schedule: str,
    execution: ExecutionConfig,
    weight: torch.Tensor,
    num_rows: int,
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
        lr_scheduler_type=schedule,
        # below 1: a share of all steps. The first of these has a learning rate of 0, so a single step does without
        warmup_steps=config.lr_warmup_fraction if config.epochs * -(-num_rows // config.batch_size) > 1 else 0,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta1=config.beta1,
        adam_beta2=config.beta2,
        optim="adamw_torch",
        bf16=weight.dtype == torch.bfloat16 or (isinstance(config, TuningConfig) and config.bf16),
        use_cpu=weight.device.type == "cpu",
        save_strategy="steps",
        save_steps=execution.resume_steps,
        save_total_limit=2,  # the one being written is not complete before the one before it may go
        logging_steps=1,
        report_to=list(execution.report_to),
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
    return vars(batch)
