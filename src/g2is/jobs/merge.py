"""`g2is merge RUN`: the model with a training's adapter added to its weights, as one that needs no PEFT.

TO/                       by default RUN/merged
    model.safetensors …   the weights, in the type that the training computed in
    config.json, generation_config.json, and the code of a model that brings its own
    tokenizer…, chat_template.jinja   as the adapter's examples were rendered
    README.md, digests.json
"""

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from g2is.config import TrainConfig
from g2is.config.commands import settings_in, told_of
from g2is.config.home import at_home
from g2is.errors import ModelError, StoreError, first_line, pass_on_too_little_memory
from g2is.examples.as_trained import render_as_trained
from g2is.jobs.model_identity import identify
from g2is.machine.environment import own_version
from g2is.machine.memory import fits_in_memory
from g2is.model.adapter import load_adapter
from g2is.model.folder import ModelFolder, find_model
from g2is.model.remote_code import code_files
from g2is.model.settings_file import GENERATION_CONFIG
from g2is.outputs.adapter_card import write_merged_card
from g2is.outputs.new_folder import check_is_free, write_new_folder
from g2is.progress import Reporter, Silent
from g2is.store.digests import record_digests
from g2is.store.files import read_json
from g2is.store.lock import locked
from g2is.training.tune import ADAPTER, MERGED, damaged_adapter, finished_tuning

_MANIFEST, _WEIGHTS, _DTYPE = "manifest.json", "model.weights", "model.dtype"
_CPU = torch.device("cpu")
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def merge(run: Path, to: Path | None = None, reporter: Reporter | None = None) -> Path:
    """Write the merged model of the finished training in the folder `run`, whole or not at all; returns where it lies.

    Sums are made in float32. Raises StoreError if `run` is no such folder or is damaged, InputError if `to` is in use,
    ModelError where the model is another than was trained on, does not fit into memory, or cannot be merged: quantised
    weights, or sums that its type cannot hold.
    """
    reporter = reporter or Silent()
    run = at_home(run).absolute()
    config = _settings(run)
    with locked(run, "training") if to is None else nullcontext():
        to = (run / MERGED if to is None else at_home(to)).resolve()
        check_is_free(to)
        folder = find_model(config.model)
        dtype = _trained_dtype(run, config, folder, reporter)
        if config.model.quantization is not None:
            reporter.notice(
                f"{run}: the adapter was trained beside weights rounded to {config.model.quantization}, and is added to"
                " those that are not; so the merged model answers a little otherwise than the two together did"
            )
        with reporter.stage("merge", "models") as progress:
            model = _merged(folder, run / ADAPTER, dtype)
            tokenizer = render_as_trained(folder, run / ADAPTER, config.examples).tokenizer

            def write(temporary: Path) -> None:
                temporary.mkdir()
                _save(model, folder, tokenizer, temporary)
                write_merged_card(temporary, config.model.name, run.name, own_version())
                files = (path for path in temporary.rglob("*") if path.is_file())
                record_digests(temporary, sorted(path.relative_to(temporary).as_posix() for path in files))

            write_new_folder(to, write)
            progress(1, 1)
    return to


def _settings(run: Path) -> TrainConfig:
    """The settings of the training in the folder `run`. Raises StoreError if it is not finished, or damaged."""
    config = settings_in(run)
    if not isinstance(config, TrainConfig):
        found = told_of(run, None if config is None else config.command)
        raise StoreError(f"{run}: expected the folder of a finished `g2is train`, found {found}")
    if finished_tuning(run) is None:
        raise StoreError(
            f"{run}: expected a finished training, found one that has not come to its end. Finish it with the same"
            " `g2is train` command"
        )
    if damaged := damaged_adapter(run):
        raise StoreError(
            f"{run / damaged[0]}: expected what the training wrote, found it changed or gone. Put it back, or train"
            f" again from the start with `g2is verify {run} --repair`"
        )
    return config


def _trained_dtype(run: Path, config: TrainConfig, folder: ModelFolder, reporter: Reporter) -> torch.dtype:
    """The type that the training computed in. Raises ModelError if the weights are others than it was on."""
    made_from = read_json(run / _MANIFEST)
    found = identify(folder, config.model, _CPU, reporter)
    if found.weights != made_from.get(_WEIGHTS):
        raise ModelError(
            f"{folder.path}: expected the model that the adapter in {run} was trained on, found other weights or"
            " settings. Put the old ones back"
        )
    return next((of for of in _TYPES if str(of) == made_from.get(_DTYPE)), found.dtype)


def _merged(folder: ModelFolder, adapter: Path, dtype: torch.dtype) -> Any:
    if getattr(folder.hf_config, "quantization_config", None) is not None:
        raise ModelError(
            f"{folder.path}: expected weights that an adapter can be added to, found quantised ones. Load the adapter"
            f" beside the model with PEFT: {adapter}"
        )
    num_bytes = 4 * sum(parameter.numel() for parameter in folder.without_weights().parameters())
    if not fits_in_memory(num_bytes):
        raise ModelError(
            f"{folder.path}: expected memory for its weights in float32, {num_bytes / 2**30:.1f} GiB, found less. Merge"
            " on a machine with more, or load the adapter beside the model"
        )
    as_it_is = {"dtype": "float32", "quantization": None, "device_map": None, "activation_checkpointing": False}
    exact = replace(folder, config=folder.config.model_copy(update=as_it_is))
    adapted = load_adapter(exact, adapter, _CPU)
    _check_own_weights(adapted, adapter)
    try:
        model = _without_adapter(adapted)
    except Exception as error:  # of PEFT: layers that it can adapt and not merge, each told in its own way
        pass_on_too_little_memory(error)
        raise ModelError(
            f"{adapter}: expected an adapter that PEFT merges, but: {first_line(error)}. Load it beside the model"
        ) from None
    model = model.to(dtype)
    if broken := [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]:
        raise ModelError(
            f"{adapter}: expected sums that {str(dtype).removeprefix('torch.')} can hold, found NaN or Inf in"
            f" {broken[0]}. Load the adapter beside the model, or convert the model to float32 before"
        )
    return model


def _check_own_weights(adapted: PeftModel, adapter: Path) -> None:
    """Raise ModelError if a layer that is adapted has its weight from another: what is added would change both."""
    names: dict[int, list[str]] = {}
    for name, parameter in adapted.get_base_model().named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name.replace(".base_layer", ""))
    for layer in adapted.modules():
        if isinstance(layer, BaseTunerLayer):
            shared = names.get(id(getattr(layer.get_base_layer(), "weight", None)), [])
            if len(shared) > 1:
                raise ModelError(
                    f"{adapter}: expected an adapter of layers with weights of their own, found one of weights that"
                    f" {' and '.join(shared)} share: merged, it would change both. Load the adapter beside the model"
                )


def _without_adapter(adapted: PeftModel) -> Any:
    model = adapted.merge_and_unload(safe_merge=True)
    left = [name for name, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)]
    if left:
        raise ValueError(f"{left[0]} keeps its adapter")
    return model


def _save(model: Any, folder: ModelFolder, tokenizer: Any, to: Path) -> None:
    """Save model and tokenizer; what the model says of generating is kept to the byte, though transformers mend it."""
    own = folder.path / GENERATION_CONFIG
    model.generation_config = type(model.generation_config)() if model.generation_config is not None else None
    model.save_pretrained(to, safe_serialization=True)
    tokenizer.save_pretrained(to)
    (to / GENERATION_CONFIG).unlink(missing_ok=True)
    if own.is_file():
        shutil.copyfile(own, to / GENERATION_CONFIG)
    if folder.config.trust_remote_code:
        for file in code_files(folder.path):
            place = to / file.relative_to(folder.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
