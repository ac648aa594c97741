"""Adam's moments, kept by canonical parameter name in safetensors."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from g2is.errors import StoreError, may_not_be_read
from g2is.store.files import write_atomically


@dataclass(frozen=True)
class Moments:
    """Adam's state after the warm-up.

    `m` and `v` map canonical parameter names to float32 tensors of the parameter's shape; `step` is the number of
    optimizer steps taken.
    """

    m: Mapping[str, torch.Tensor]
    v: Mapping[str, torch.Tensor]
    step: int
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


def adapter_digest(folder: Path) -> str:
    """A hash of a kept adapter: its settings, parameters and moments; of what is there, if some are missing.

    Raises StoreError if one may not be read.
    """
    total = hashlib.blake2b(digest_size=16)
    for name in ("adapter_config.json", "adapter_model.safetensors", "moments.safetensors"):
        try:
            total.update((folder / name).read_bytes() if (folder / name).exists() else b"")
        except PermissionError:
            raise may_not_be_read(folder / name) from None
    return total.hexdigest()


def save_moments(moments: Moments, path: Path) -> None:
    """Write `moments` atomically: tensors `NAME.m` and `NAME.v`, the scalars as metadata."""
    tensors = {f"{name}.m": m.contiguous() for name, m in moments.m.items()}
    tensors |= {f"{name}.v": v.contiguous() for name, v in moments.v.items()}
    scalars = {key: getattr(moments, key) for key in ("step", "beta1", "beta2", "epsilon")}
    # one entry: safetensors writes several in an order that changes from process to process
    metadata = {"adam": json.dumps(scalars)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def load_moments(path: Path, parameters: Mapping[str, nn.Parameter]) -> Moments:
    """Read moments for exactly `parameters`, each to where its parameter is.

    Raises StoreError naming the first parameter that does not fit.
    """
    with safe_open(path, framework="pt") as file:
        scalars = json.loads(file.metadata()["adam"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no mapping
    m = {key.removesuffix(".m"): tensor for key, tensor in tensors.items() if key.endswith(".m")}
    v = {key.removesuffix(".v"): tensor for key, tensor in tensors.items() if key.endswith(".v")}
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    for kind, found in (("m", m), ("v", v)):
        found_shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        for name in sorted(shapes.keys() | found_shapes.keys()):
            if shapes.get(name) != found_shapes.get(name):
                raise StoreError(
                    f"{path}: expected the moment {kind} of {name} with shape {shapes.get(name)}, found"
                    f" {found_shapes.get(name)}: the moments are not those of this adapter"
                )
    m, v = ({name: of[name].to(p.device) for name, p in parameters.items()} for of in (m, v))
    return Moments(m, v, **scalars)
