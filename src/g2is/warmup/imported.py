"""A user's own LoRA checkpoint in place of the warm-up, as transformers' Trainer and those built on it leave it.

What is taken, how moments are matched and what is refused: docs/checkpoints.md. Kept in the store as a warm-up is:

    imported/         adapter_config.json, adapter_model.safetensors (the same bytes), moments.safetensors
    complete.json     the one checkpoint of weight 1, and what was taken

The whole folder comes into being at once; the user's is only read.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from g2is.config.strict import parse_json, read_text_file
from g2is.errors import ModelError, StoreError, pass_on_too_little_memory
from g2is.model.adapter import saved_parameters, with_fresh
from g2is.model.folder import ModelFolder
from g2is.model.layers import is_linear
from g2is.model.parameters import trainable_parameters
from g2is.store.files import read_json, remove, write_atomically, write_json
from g2is.store.given import part
from g2is.store.moments import adapter_digest, save_moments

if TYPE_CHECKING:  # for taking a checkpoint alone: a store that has taken one needs neither
    from peft import PeftModel

    from g2is.warmup.optimizer_state import SavedAdam

NAME = "imported"

_CONFIG, _WEIGHTS, _PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
_CHUNK = 1 << 24
# What a checkpoint of DeepSpeed or of sharded FSDP has in its folder.
_DEEPSPEED = ("global_step*", "zero_pp_rank*", "latest", "zero_to_fp32.py")
_SHARDED = ("optimizer_[0-9]*", "pytorch_model_fsdp*")
# Settings of an adapter under which its gradients are exact as they are for the warm-up's; all others must be off.
_SUPPORTED = {
    *("peft_type", "peft_version", "auto_mapping", "task_type", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "lora_alpha", "lora_dropout", "lora_bias", "fan_in_fan_out", "use_rslora"),
    *("rank_pattern", "alpha_pattern", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("init_lora_weights", "megatron_core", "qalora_group_size"),
}
# These only draw the adapter's first values; the others (PiSSA, LoftQ …) change the base model too.
_PLAIN_INITS = (True, False, "gaussian", "orthogonal")


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a checkpoint that are taken; `digest` is a hash of their content, wherever they lie."""

    folder: Path
    optimizer: Path
    digest: str


@dataclass(frozen=True)
class ImportedAdapter:
    """A checkpoint that fits the model: its files, settings and Adam state, and the adapter's number of coordinates."""

    files: CheckpointFiles
    settings: Mapping[str, Any]
    adam: "SavedAdam"
    num_coordinates: int

    def summary(self) -> dict[str, Any]:
        """What was taken, as summary.json tells it."""
        moments = self.adam.moments
        return {
            "step": moments.step,
            "learning_rates": list(self.adam.learning_rates),
            "beta1": moments.beta1,
            "beta2": moments.beta2,
            "epsilon": moments.epsilon,
            "base_model": self.settings.get("base_model_name_or_path"),
        }


def find_checkpoint(folder: Path) -> CheckpointFiles:
    """The checkpoint's files in `folder`. Raises ModelError naming what is missing or cannot be taken."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: expected --adapter to be a checkpoint's folder, found none there; check the path")
    if not (folder / _CONFIG).is_file():
        inner = sorted(path.parent.name for path in folder.glob(f"*/{_CONFIG}"))
        hint = f" Did you mean one of its folders {', '.join(inner[:5])}?" if inner else ""
        raise ModelError(
            f"{folder}: expected a LoRA checkpoint with {_CONFIG}, found none: a fully trained model or a folder above"
            f" the checkpoints is no adapter.{hint} Name a checkpoint-N folder of a LoRA training"
        )
    if not (folder / _WEIGHTS).is_file():
        found = f"{_PICKLED}, a pickle, which g2is never loads" if (folder / _PICKLED).exists() else "none"
        raise ModelError(
            f"{folder}: expected the adapter's weights in {_WEIGHTS}, found {found}. Load it once where you trust it,"
            " with PEFT's PeftModel.from_pretrained(…), and save it with save_pretrained(…), which writes safetensors"
        )
    return CheckpointFiles(folder, optimizer := _find_optimizer(folder), _digest(folder, optimizer))


def _find_optimizer(folder: Path) -> Path:
    for patterns, what, remedy in (
        (
            _DEEPSPEED,
            "a checkpoint of DeepSpeed, which spreads Adam's state over its ranks",
            "Train the few steps of a warm-up without DeepSpeed",
        ),
        (
            _SHARDED,
            "a checkpoint of FSDP in shards",
            "Set fsdp_state_dict_type to FULL_STATE_DICT, which writes one optimizer.bin",
        ),
    ):
        found = sorted(path.name for pattern in patterns for path in folder.glob(pattern))
        if found and not (patterns == _SHARDED and (folder / "optimizer.bin").is_file()):
            raise ModelError(
                f"{folder}: expected Adam's state in one file, optimizer.pt or optimizer.bin, found {', '.join(found)}:"
                f" {what}. {remedy}, or leave --adapter out"
            )
    optimizers = [folder / name for name in _OPTIMIZERS if (folder / name).is_file()]
    if len(optimizers) != 1:
        found_there = " and ".join(path.name for path in optimizers) or "none"
        below = sorted({path.parent.name for name in _OPTIMIZERS for path in folder.glob(f"checkpoint-*/{name}")})
        if optimizers:
            remedy = "Remove the one that is not of this checkpoint"
        elif below:  # the adapter that a training ended with lies above its checkpoints
            remedy = f"Name one of the folders in it that have one ({', '.join(below[:5])})"
        else:
            remedy = "Train with save_only_model=False"
        remedy += ", or leave --adapter out: g2is then warms up by itself"
        raise ModelError(
            f"{folder}: expected the optimizer's state in optimizer.pt or optimizer.bin, found {found_there}. {remedy}"
        )
    return optimizers[0]


def _digest(folder: Path, optimizer: Path) -> str:
    total = hashlib.blake2b(digest_size=16)
    for file in (folder / _CONFIG, folder / _WEIGHTS, optimizer):
        of_file = hashlib.blake2b(digest_size=16)
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                of_file.update(chunk)
        total.update(of_file.digest())
    return total.hexdigest()


def read_checkpoint(files: CheckpointFiles, model: ModelFolder) -> ImportedAdapter:
    """Read and check a checkpoint against the base model's layers, without loading the model's weights.

    Raises ModelError where the adapter is of a kind whose gradients are not supported, or it, the model and the moments
    do not fit each other.
    """
    from g2is.warmup.optimizer_state import read_moments

    settings = _settings(files.folder / _CONFIG)
    adapter = _attach(files, settings, model)
    _check_weights(files, adapter, model)
    adam = read_moments(files.optimizer, adapter)
    return ImportedAdapter(files, settings, adam, sum(p.numel() for p in trainable_parameters(adapter).values()))


def keep_checkpoint(imported: ImportedAdapter, folder: Path, reach: Mapping[str, Any] | None = None) -> None:
    """Keep adapter and moments as the finished warm-up `folder`, whole or not at all, with how far it `reach`es.

    Raises ModelError if the checkpoint's files have changed since they were found.
    """
    remove(folder)  # what a killed run left; a finished warm-up is never imported again
    source = imported.files.folder

    def write(temporary: Path) -> None:
        kept = temporary / NAME
        kept.mkdir(parents=True)
        for name in (_CONFIG, _WEIGHTS):
            shutil.copyfile(source / name, kept / name)
        save_moments(imported.adam.moments, kept / "moments.safetensors")
        if find_checkpoint(source).digest != imported.files.digest:
            raise ModelError(
                f"{source}: expected a checkpoint that stays as it is, found its files changed while they were read."
                " Wait for the training that writes them, then give the same command again"
            )
        checkpoint = {"name": NAME, "weight": 1.0, "digest": adapter_digest(kept)}
        written = {"checkpoints": [checkpoint], NAME: imported.summary()}
        write_json(temporary / "complete.json", written if reach is None else {**written, "reach": dict(reach)})

    write_atomically(folder, write)


def imported_summary(folder: Path) -> dict[str, Any]:
    """What the imported checkpoint kept in `folder` was."""
    record = folder / "complete.json"
    summary: dict[str, Any] = part(read_json(record), NAME, dict, record)
    return summary


def adapter_notices(folder: Path, taken: Mapping[str, Any], model: str) -> list[str]:
    """What a user is told of the checkpoint in `folder`, `taken` in place of the warm-up for the base `model`."""
    rates = " and ".join(f"{rate:.3g}" for rate in taken["learning_rates"])
    notices = [
        f"{folder} is taken in place of the warm-up: Adam's moments at step {taken['step']}, learning rate {rates}"
        f" there, β {taken['beta1']} and {taken['beta2']}"
    ]
    base = taken["base_model"]
    if base and base != model and Path(base).absolute() != Path(model).absolute():
        notices.append(f"{folder} was trained on {base}; its gradients are taken on {model}: make sure they are one")
    return notices


def _settings(path: Path) -> dict[str, Any]:
    """The adapter's settings. Raises ModelError for each kind of adapter that is not supported."""
    try:
        settings = parse_json(read_text_file(path))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: expected PEFT's settings as JSON, but they cannot be read: {error}") from None
    kind = settings.get("peft_type") if isinstance(settings, dict) else None
    if kind != "LORA":
        raise ModelError(
            f"{path}: expected an adapter of peft_type LORA, found {kind!r}. Train a LoRA adapter, or leave"
            " --adapter out"
        )
    problems = [
        f"{key} = {json.dumps(value)}"
        for key, value in settings.items()
        if key not in _SUPPORTED and value and not (key == "bias" and value == "none")
    ]
    if settings.get("init_lora_weights", True) not in _PLAIN_INITS:
        problems.append(f"init_lora_weights = {json.dumps(settings['init_lora_weights'])}")
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        problems.append(f"task_type = {json.dumps(settings['task_type'])}")
    if problems:
        raise ModelError(
            f"{path}: expected a plain LoRA adapter of a causal language model, found {'; '.join(problems)}, for which"
            " exact gradients on the model that --model names are not supported. Train without, or leave --adapter out"
        )
    return dict(settings)


def _attach(files: CheckpointFiles, settings: Mapping[str, Any], model: ModelFolder) -> "PeftModel":
    """The adapter's modules on the model's, without weights, trainable as they were when it was trained."""
    import peft
    from peft.tuners.lora import LoraLayer

    known = peft.LoraConfig().to_dict().keys()
    usable = {key: value for key, value in settings.items() if key in known}  # the rest is off: _settings has checked
    try:
        config = peft.LoraConfig(**{**usable, "inference_mode": False, "init_lora_weights": True})
        with torch.device("meta"):
            adapter = with_fresh(model.without_weights(), config)
    except Exception as error:  # whatever the settings of a stranger's file make PEFT raise
        pass_on_too_little_memory(error)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{files.folder / _CONFIG}: expected an adapter of {model.path} ({model.hf_config.model_type}), but PEFT"
            f" cannot attach it: {reason}. Give --model the model it was trained on"
            f" ({settings.get('base_model_name_or_path')})"
        ) from None
    for path, layer in adapter.named_modules():
        if isinstance(layer, LoraLayer) and not is_linear(layer.get_base_layer()):
            raise ModelError(
                f"{files.folder / _CONFIG}: expected LoRA on linear layers, found it on {path}, a"
                f" {type(layer.get_base_layer()).__name__}, whose gradients are not supported. Leave it out of"
                " target_modules, or leave --adapter out"
            )
    return adapter


def _check_weights(files: CheckpointFiles, adapter: "PeftModel", model: ModelFolder) -> None:
    place = files.folder / _WEIGHTS
    try:
        saved = saved_parameters(files.folder)
    except (StoreError, OSError) as error:
        raise ModelError(f"{place}: expected the adapter's weights, found a damaged file: {error}") from None
    shapes = {name: tuple(parameter.shape) for name, parameter in trainable_parameters(adapter).items()}
    for name in sorted(shapes.keys() | saved.keys()):
        expected, found = shapes.get(name), tuple(saved[name].shape) if name in saved else None
        if expected != found:
            raise ModelError(
                f"{place}: expected {name} with {_shape(expected)}, found {_shape(found)}: the adapter does not fit"
                f" {model.path} ({model.hf_config.model_type}) or holds more than LoRA's matrices. Give --model the"
                " model it was trained on, and train LoRA's matrices alone (no embeddings, no resized vocabulary)"
            )
        if not bool(saved[name].isfinite().all()):
            raise ModelError(
                f"{place}: expected numbers in {name}, shape {expected}, found NaN or Inf: the training diverged. Take"
                " an earlier checkpoint"
            )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "no such parameter" if shape is None else f"shape {shape}"
