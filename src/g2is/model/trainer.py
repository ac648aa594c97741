"""The stock Trainer, as warm-up and tuning use it: quiet, and resumable after a kill at any moment."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from peft import PeftModel
from torch import distributed, nn
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from g2is.config import ExecutionConfig, ModelConfig, Parameters, TuningConfig, WarmupConfig
from g2is.errors import (
    G2isError,
    ModelError,
    StoreError,
    TooLittleMemoryError,
    first_line,
    tells_of_memory,
)
from g2is.machine.ranks import num_processes
from g2is.model.batches import Batch, Row, batches_of_step, nothing_learned, pad_batch
from g2is.model.checkpoints import digest_of_rows, keep_sound, processes_of, seal
from g2is.model.devices import frozen_dtype
from g2is.model.losses import token_losses
from g2is.model.parameters import trainable_parameters, without_gradient
from g2is.model.reporting import check_reporting, logging_below
from g2is.model.step_order import ShareOfSteps, StepOrder
from g2is.model.together import Optimizer, Schedule, Training, led
from g2is.progress import Progress
from g2is.store.files import plain_json, read_json, write_text


def train_adapter(
    model: nn.Module,
    rows: Sequence[Row],
    folder: Path,
    config: WarmupConfig | TuningConfig,
    schedule: Schedule,
    execution: ExecutionConfig,
    progress: Progress,
    *callbacks: TrainerCallback,
    notice: Callable[[str], None],
    base: ModelConfig | None = None,
    parameters: Parameters = "lora",
    optimizer: Optimizer = "adamw_torch",
) -> TrainerState:
    """Train `parameters` of `model` on `rows`, from the last sound checkpoint in `folder` if there is any.

    `notice` is told of checkpoints that are damaged. Of several processes (`machine/ranks.py`) the others are handed
    the same training, and find the model that `base` names; this one alone keeps anything.

    Batch order, dropout and optimizer come out bit for bit as in an undisturbed run on the same machine, threads,
    versions and number of processes. Raises ModelError if the loss does not reach a trainable parameter, the training
    diverges, or a step does not fit in memory; TooLittleMemoryError if that step comes after a complete checkpoint;
    WorkerError if another process is gone; ConfigError as `check_reporting`.
    """
    resume_from = keep_sound(folder, digest_of_rows(rows), notice)
    check_reporting(execution)
    if resume_from is not None and (before := processes_of(resume_from)) != (now := num_processes()):
        notice(
            f"{resume_from}: written by {before} processes, and {now} go on: the same rows in the same steps, but sums"
            " are rounded otherwise and dropout draws anew, so the adapter is not bit for bit that of either number"
        )
    training = Training(base, rows, folder, config, schedule, execution, resume_from, parameters, optimizer)
    try:
        with (
            logging_below(folder.parent / "logs", execution.report_to),
            led(training, next(model.parameters()).device),
        ):
            return take_steps(training, model, progress, *callbacks)
    except Exception as error:
        if not tells_of_memory(error):
            raise
        raise _too_little_memory(folder, config, rows, error) from None


def take_steps(training: Training, model: nn.Module, progress: Progress, *callbacks: TrainerCallback) -> TrainerState:
    """Do the optimizer steps of `training`; of several processes, this one's share of each."""
    rows, config = training.rows, training.config
    trainer = _SortedSteps(
        config.batch_size,
        model=model,
        args=_arguments(training, next(model.parameters()).device, frozen_dtype(model)),
        train_dataset=list(rows),
        data_collator=_collate,
        callbacks=[_Watch(trainable_parameters(model), digest_of_rows(rows), progress), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # progress is ours to report
    trainer.model_accepts_loss_kwargs = True  # else the step's tokens are not counted for every model
    if trainer.args.process_index:
        set_seed(config.seed + trainer.args.process_index)  # else dropout is the same in every process
    trainer.train(resume_from_checkpoint=None if training.resume_from is None else str(training.resume_from))
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else it goes on in mixed precision
    return trainer.state


def _too_little_memory(
    folder: Path, config: WarmupConfig | TuningConfig, rows: Sequence[Row], error: Exception
) -> G2isError:
    device_batch, _ = batches_of_step(config.batch_size, config.device_batch_size, num_processes())
    section, flag = ("warmup", "--store") if isinstance(config, WarmupConfig) else ("tuning", "--out")
    longest = max(len(ids) for ids, _ in rows)
    found = (
        f"expected memory for {device_batch} examples of up to {longest} tokens in a training step, found too little"
    )
    lower = f"{section}.device_batch_size, examples.max_length or {section}.lora.rank"
    if (checkpoint := keep_sound(folder, digest_of_rows(rows), lambda _: None)) is None:
        return ModelError(
            f"{found}. Lower {lower}, set model.activation_checkpointing=true, or use a device with more"
            f" ({first_line(error)})"
        )
    return TooLittleMemoryError(
        f"{found}. {checkpoint} is kept: where there is more memory, the same command goes on from it. Or lower"
        f" {lower}, with another {flag} ({first_line(error)})"
    )


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


def _in_main_memory(storage: Any, place: str) -> Any:
    return storage if place.startswith("cpu:") else None


# Where several processes go on without a GPU, older transformers ask for moments on "cpu:0", which torch does not know.
torch.serialization.register_package(90, lambda storage: None, _in_main_memory)


class _SortedSteps(Trainer):
    """The Trainer with its hooks for the order of rows and for the loss filled in."""

    loss_is_scaled_for_ga = True

    def __init__(self, step_rows: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._step_rows = step_rows

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The stock loss, the mean over all learned tokens of the optimizer step, without logits for other tokens."""
        # gradients are averaged over processes, each of which has its share of the sum
        return token_losses(model, Batch(**inputs)).sum() / num_items_in_batch * self.args.world_size

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The stock loader; of several processes, one that gives this process its share of each step."""
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        rows = list(self.train_dataset)
        batches = ShareOfSteps(
            self._get_train_sampler(rows),
            self._step_rows,
            self.args.train_batch_size,
            self.args.process_index,
            self.args.world_size,
            filler=len(rows),
        )
        loader: Any = DataLoader(
            [*rows, nothing_learned(rows[0])],  # type: ignore[arg-type]  # a list serves as a dataset
            batch_sampler=batches,
            collate_fn=_collate,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # the Trainer itself would deal whole batches, and rows twice where they do not come out even
        return prepare_data_loader(
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True, rng_types=[]
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> StepOrder:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return StepOrder([len(ids) for ids, _ in rows], self._step_rows, self.args.seed)


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
        if args.world_size > 1:
            distributed.barrier()  # each has written the state of its random numbers
            _check_all_wrote(checkpoint, args.world_size)
        if args.process_index == 0:
            seal(checkpoint, self._rows_digest, args.world_size)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        unused = [name for name, parameter in self._parameters.items() if parameter.grad is None]
        if unused:
            raise without_gradient(unused)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._progress(state.global_step, state.max_steps)


def _check_all_wrote(checkpoint: Path, num_processes: int) -> None:
    lacking = [rank for rank in range(num_processes) if not (checkpoint / f"rng_state_{rank}.pth").exists()]
    if lacking:
        raise StoreError(
            f"{checkpoint}: expected a folder that all {num_processes} processes share, found nothing of process"
            f" {lacking[0]}. Name one on a file system that all machines see"
        )


def _arguments(training: Training, device: torch.device, dtype: torch.dtype) -> TrainingArguments:
    """The Trainer's settings, of a model on `device` that computes in `dtype`."""
    config, execution = training.config, training.execution
    device_batch, num_batches = batches_of_step(config.batch_size, config.device_batch_size, num_processes())
    arguments = TrainingArguments(
        output_dir=str(training.folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=num_batches,
        learning_rate=config.learning_rate,
        lr_scheduler_type=training.schedule,
        # below 1: a share of all steps. The first of these has a learning rate of 0, so a single step does without
        warmup_steps=config.lr_warmup_fraction
        if config.epochs * -(-len(training.rows) // config.batch_size) > 1
        else 0,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_beta1=config.beta1,
        adam_beta2=config.beta2,
        optim=training.optimizer,
        bf16=dtype == torch.bfloat16 or (isinstance(config, TuningConfig) and config.bf16),
        use_cpu=device.type == "cpu",
        ddp_backend="gloo" if num_processes() > 1 and device.type == "cpu" else None,
        save_strategy="steps",
        save_steps=execution.resume_steps,  # and older ones go when one is sealed
        logging_steps=1,
        report_to=list(execution.report_to),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        seed=config.seed,
        data_seed=config.seed,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # else the Trainer splits each batch over every visible device, and the loss changes
    return arguments


def _collate(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    batch = pad_batch(rows)
    return vars(batch)
