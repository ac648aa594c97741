"""Adam's moments out of a saved optimizer, by canonical parameter name.

A saved optimizer knows its parameters by position in its groups, and two parameters of one shape cannot be told apart
by their moments. So the names come from the file itself where it has them (`param_names`, or a state keyed by names as
FSDP gathers it), else from the very rule that made the groups: the Trainer's or, for LoRA+, PEFT's. Sizes of groups,
shapes and steps are then checked; whatever does not fit is an error.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from transformers import Trainer

from g2is.errors import ModelError
from g2is.model.parameters import canonical_name, trainable_parameters
from g2is.store.moments import Moments
from g2is.warmup.saved_optimizer import INSTEAD, is_number, listed, load_saved

_ADAM = {"step", "exp_avg", "exp_avg_sq"}
# Key of another optimizer's state -> what that optimizer is; the first that is found names it.
_OTHERS = {
    "state1": "bitsandbytes (8-bit or paged)",
    "state2": "bitsandbytes (8-bit or paged)",
    "absmax1": "bitsandbytes (8-bit or paged)",
    "qmap1": "bitsandbytes (8-bit or paged)",
    "max_exp_avg_sq": "Adam with amsgrad, whose steps were scaled by another second moment than the one Γ takes",
    "exp_avg_sq_row": "Adafactor, which keeps no whole second moment",
    "momentum_buffer": "SGD or Muon, which keep no second moment",
    "projector": "GaLore or APOLLO, whose moments are not those of the parameters",
    "exp_inf": "Adamax, whose second moment is not Adam's",
}


@dataclass(frozen=True)
class SavedAdam:
    """A saved optimizer's `moments`, and the learning rates of its groups that hold parameters, in their order."""

    moments: Moments
    learning_rates: Sequence[float]


def read_moments(path: Path, adapter: PeftModel) -> SavedAdam:
    """The Adam state in `path` for exactly the trainable parameters of `adapter`, whose weights may be on meta.

    Runs no code of the file. Raises ModelError where the file is no Adam state, or a parameter's moments are missing,
    left over, not to be told from another's, of another shape, not finite, or taken at another step.
    """
    entries, groups = load_saved(path)
    _check_kind(path, entries)
    names = _names(path, entries, groups, adapter)
    shapes = {name: tuple(parameter.shape) for name, parameter in trainable_parameters(adapter).items()}
    _check_names(path, names.values(), shapes)
    of_name = {name: entries[key] for key, name in names.items() if key in entries}
    left_over = [str(key) for key in entries if key not in names]
    if left_over:
        raise ModelError(
            f"{path}: expected moments of its own parameters only, found {len(left_over)} that no group holds:"
            f" {listed(left_over)}. The file is damaged: take another checkpoint"
        )
    for name, shape in shapes.items():
        _check_tensors(path, name, shape, of_name.get(name))
    steps = Counter(float(of_name[name]["step"]) for name in shapes)
    if len(steps) > 1 or not (step := next(iter(steps))).is_integer() or step < 1:
        found = ", ".join(f"step {step:g} of {number}" for step, number in sorted(steps.items()))
        raise ModelError(
            f"{path}: expected all {len(shapes)} parameters to have taken the same steps, at least one, found {found}"
            f" parameters. {INSTEAD}"
        )
    betas = _same(path, groups, "betas")
    moments = Moments(
        m={name: of_name[name]["exp_avg"].float() for name in shapes},
        v={name: of_name[name]["exp_avg_sq"].float() for name in shapes},
        step=int(step),
        beta1=float(betas[0]),
        beta2=float(betas[1]),
        epsilon=float(_same(path, groups, "eps")),
    )
    return SavedAdam(moments, [float(group["lr"]) for group in groups if group["params"]])


def _check_kind(path: Path, entries: Mapping[Any, Mapping[str, Any]]) -> None:
    if not entries:
        raise ModelError(
            f"{path}: expected the moments of an optimizer that has taken steps, found none. Take a checkpoint from"
            " after the first step"
        )
    kinds = Counter(tuple(sorted(entry)) for entry in entries.values())
    others = [kind for kind in kinds if set(kind) != _ADAM]
    if others:
        keys = {key for kind in others for key in kind}
        guess = next((what for key, what in _OTHERS.items() if key in keys), "another optimizer than Adam or AdamW")
        raise ModelError(
            f"{path}: expected Adam's state (exp_avg, exp_avg_sq, step) of every parameter, found"
            f" {listed(sorted(keys), 20) or 'nothing'}: {guess}. {INSTEAD}"
        )


def _names(
    path: Path, entries: Mapping[Any, Any], groups: Sequence[Mapping[str, Any]], adapter: PeftModel
) -> dict[Any, str]:
    """Canonical name of each parameter by its key in the state."""
    positions = [key for group in groups for key in group["params"]]
    if len(set(positions)) != len(positions):
        raise ModelError(f"{path}: expected each parameter in one group, found one twice. Take another checkpoint")
    if all(isinstance(key, str) for key in positions) and all(isinstance(key, str) for key in entries):
        return {key: canonical_name(key) for key in positions}
    if groups and all("param_names" in group for group in groups):
        given = [name for group in groups for name in group["param_names"]]
        if len(given) != len(positions) or not all(isinstance(name, str) for name in given):
            raise ModelError(
                f"{path}: expected one of param_names for each of {len(positions)} parameters, found {len(given)}. The"
                " file is damaged: take another checkpoint"
            )
        return {key: canonical_name(name) for key, name in zip(positions, given, strict=True)}
    return dict(zip(positions, _names_by_convention(path, groups, adapter), strict=True))


def _names_by_convention(path: Path, groups: Sequence[Mapping[str, Any]], adapter: PeftModel) -> list[str]:
    """Names in the order of the groups' parameters, if the groups are as a known trainer makes them."""
    sizes = [len(group["params"]) for group in groups]
    in_order = [name for name, parameter in adapter.named_parameters() if parameter.requires_grad]
    conventions: dict[str, list[list[str]]] = {}
    if len(groups) == 1 or (len(groups) == 2 and sizes[1] == 0):  # whoever cut it: one list in the model's order
        conventions["one list"] = [in_order, []][: len(groups)]
    elif len(groups) == 2:
        decayed = set(Trainer.get_decay_parameter_names(None, adapter))
        conventions["the Trainer"] = [
            [name for name in in_order if name in decayed],
            [name for name in in_order if name not in decayed],
        ]
    elif len(groups) == 4:
        a, embedding, b, b_not_decayed = _loraplus_groups(adapter)
        conventions["PEFT's LoRA+"] = [a, embedding, b, b_not_decayed]
        conventions["LLaMA-Factory's LoRA+"] = [a, b, b_not_decayed, embedding]
    fitting = [names for names in conventions.values() if [len(of_group) for of_group in names] == sizes]
    if not fitting:
        known = [f"{[len(of_group) for of_group in names]} ({who})" for who, names in conventions.items()]
        raise ModelError(
            f"{path}: expected the adapter's {len(in_order)} parameters in groups of a known order,"
            f" {' or '.join(known) or 'one group, two (the Trainer) or four (LoRA+)'}, found groups of {sizes}: which"
            f" moments are whose cannot be told. {INSTEAD}"
        )
    if len(groups) == 2 and sizes[1] and not _is_decay_and_no_decay(groups):
        raise ModelError(
            f"{path}: expected two groups that differ in weight decay alone, the second without (the Trainer's), found"
            f" {_settings_of(groups[0])} and {_settings_of(groups[1])}: which moments are whose cannot be told."
            f" {INSTEAD}"
        )
    return [canonical_name(name) for of_group in fitting[0] for name in of_group]


def _loraplus_groups(adapter: PeftModel) -> list[list[str]]:
    """PEFT's own LoRA+ groups of this adapter: A, embeddings, B, and B that is not decayed."""
    optimizer = create_loraplus_optimizer(adapter, torch.optim.AdamW, lr=1.0, loraplus_lr_ratio=1.0)
    name_of = {id(parameter): name for name, parameter in adapter.named_parameters()}
    return [[name_of[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]


def _is_decay_and_no_decay(groups: Sequence[Mapping[str, Any]]) -> bool:
    rates = {float(group.get("initial_lr", group["lr"])) for group in groups}
    return len(rates) == 1 and groups[1].get("weight_decay") == 0


def _settings_of(group: Mapping[str, Any]) -> str:
    return f"(lr {group.get('initial_lr', group.get('lr'))}, weight_decay {group.get('weight_decay')})"


def _check_names(path: Path, names: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    found = Counter(names)
    missing = [name for name in shapes if name not in found]
    extra = [name for name in found if name not in shapes]
    twice = [name for name, number in found.items() if number > 1]
    for problem, wrong in (("missing", missing), ("not of this adapter", extra), ("there twice", twice)):
        if wrong:
            shape = f" (shape {shapes[wrong[0]]})" if wrong[0] in shapes else ""
            raise ModelError(
                f"{path}: expected the moments of the adapter's {len(shapes)} parameters, each once, found"
                f" {len(wrong)} {problem}: {listed(wrong)}{shape}. Take optimizer and adapter from one and the"
                " same checkpoint, trained on the model that --model names"
            )


def _check_tensors(path: Path, name: str, shape: tuple[int, ...], entry: Mapping[str, Any] | None) -> None:
    if entry is None:
        raise ModelError(
            f"{path}: expected the moments of {name}, shape {shape}, found none: it never got a gradient. Leave its"
            " layer out of the adapter (target_modules), or train until every parameter has taken a step"
        )
    step = entry["step"]
    if not is_number(step):
        raise ModelError(
            f"{path}: expected one number as the step of {name}, found a {type(step).__name__} that is none. Take"
            " another checkpoint"
        )
    for kind in ("exp_avg", "exp_avg_sq"):
        tensor = entry[kind]
        if not _is_plain(tensor) or not tensor.is_floating_point() or tuple(tensor.shape) != shape:
            found = (
                f"{tuple(tensor.shape)} of {tensor.dtype} on {tensor.device}, {tensor.layout}"
                if isinstance(tensor, torch.Tensor)
                else f"a {type(tensor).__name__}"
            )
            raise ModelError(
                f"{path}: expected {kind} of {name} with shape {shape}, found {found}. Take optimizer and adapter from"
                " one and the same checkpoint, trained on the model that --model names"
            )
        if not bool(tensor.isfinite().all()) or (kind == "exp_avg_sq" and bool((tensor < 0).any())):
            raise ModelError(
                f"{path}: expected numbers in {kind} of {name}, shape {shape} (not negative in exp_avg_sq), found NaN,"
                " Inf or less than 0: the training diverged. Take an earlier checkpoint"
            )


def _is_plain(tensor: Any) -> bool:
    """Whether this is a tensor in main memory that holds all its numbers."""
    return isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"


def _same(path: Path, groups: Sequence[Mapping[str, Any]], key: str) -> Any:
    """What all groups with parameters have under `key`."""
    filled = [group for group in groups if group["params"]]
    if any(group.get("maximize") for group in filled):
        raise ModelError(f"{path}: expected an Adam that goes down the loss, found maximize=True. {INSTEAD}")
    values = {str(group.get(key)): group.get(key) for group in filled}
    if len(values) != 1 or None in values.values():
        raise ModelError(f"{path}: expected one {key} for all parameters, found {', '.join(values)}. {INSTEAD}")
    return next(iter(values.values()))
