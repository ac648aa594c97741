"""A saved optimizer out of a stranger's file: nothing of it runs, and what torch never writes is refused."""

import math
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from g2is.errors import ModelError, first_line, tells_of_memory

INSTEAD = "Train with AdamW as transformers' Trainer has it (optim: adamw_torch), or leave --adapter out"
_LONGEST = 200  # characters shown of a name


def load_saved(path: Path) -> tuple[dict[Any, dict[str, Any]], list[dict[str, Any]]]:
    """The state of each parameter by its key, a number or a name, and the groups, each with `params` and `lr`.

    Runs no code of the file. Raises ModelError where it is no optimizer's state_dict, or holds what torch never writes.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a stranger's pickle makes torch raise anything, though it runs none of its code
        if tells_of_memory(error):
            raise
        reason = first_line(error)[:_LONGEST]
        raise ModelError(
            f"{path}: expected an optimizer's state in plain tensors, found a file that cannot be read as such"
            f" (damaged, or holding objects that only running its code would give): {reason}. {INSTEAD}"
        ) from None
    entries = saved.get("state") if isinstance(saved, dict) else None
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    if not (isinstance(entries, dict) and isinstance(groups, list)):
        found = listed(saved) if isinstance(saved, dict) else type(saved).__name__
        raise ModelError(
            f"{path}: expected an optimizer's state_dict with `state` and `param_groups`, found {found}. {INSTEAD}"
        )
    problem = next((of for key, entry in entries.items() if (of := _problem_of_entry(key, entry))), None)
    problem = problem or next((of for group in groups if (of := _problem_of_group(group))), None)
    if problem:
        raise ModelError(
            f"{path}: expected an optimizer's state_dict as torch writes it, found {problem}. The file is damaged or"
            " made by hand: take another checkpoint"
        )
    return entries, groups


def _problem_of_entry(key: Any, entry: Any) -> str | None:
    """What of a parameter's state is of a kind that no optimizer writes."""
    if not _is_key(key):
        return f"a {type(key).__name__} as a parameter's key in `state`"
    if not (isinstance(entry, dict) and all(isinstance(name, str) for name in entry)):
        return "a parameter's state that is no mapping of texts"
    return None


def _problem_of_group(group: Any) -> str | None:
    """What of a group of parameters is of a kind that no optimizer writes."""
    if not (isinstance(group, dict) and all(isinstance(name, str) for name in group)):
        return "a group in `param_groups` that is no mapping of texts"
    params, names = group.get("params"), group.get("param_names", [])
    if not (isinstance(params, list) and all(map(_is_key, params))):
        return "a group whose `params` is no list of numbers or names"
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return "a group whose `param_names` is no list of names"
    for name in ("lr", "initial_lr", "weight_decay", "eps"):
        if (name in group or name == "lr") and not is_number(group.get(name)):
            return f"a group whose `{name}` is no number"
    betas = group.get("betas", (0.0, 0.0))
    if not (isinstance(betas, list | tuple) and len(betas) == 2 and all(is_number(of) and 0 <= of < 1 for of in betas)):
        return "a group whose `betas` are no two numbers from 0 to 1"
    if not isinstance(group.get("maximize", False), bool | None):
        return "a group whose `maximize` is neither true nor false"
    return None


def _is_key(value: Any) -> bool:
    return isinstance(value, str | int)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite real number; a learning rate may be a tensor that holds one."""
    if isinstance(value, torch.Tensor):
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_complex()
        return plain and value.numel() == 1 and math.isfinite(value.item())
    return isinstance(value, int | float) and abs(value) < 1e300  # NaN is not


def listed(names: Iterable[Any], most: int = 5) -> str:
    """The first names for a message, none of them longer than a line or two."""
    shown = islice(names, most)
    return ", ".join(str(name)[:_LONGEST] if isinstance(name, str | int) else type(name).__name__ for name in shown)
