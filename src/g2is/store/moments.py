"""Moments of Adam or Adafactor, kept by canonical parameter name in safetensors."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from g2is.errors import StoreError, may_not_be_read
from g2is.store.files import write_atomically

ADAPTER = "adapter_model.safetensors"
LINEAR_WEIGHTS = "linear_weights.safetensors"  # in an adapter's place where all linear layers are trained
_KEPT = ("adapter_config.json", ADAPTER, LINEAR_WEIGHTS, "moments.safetensors")
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Factored:
    """Adafactor's second moment of a weight (a, b): v = row ⊗ column / mean(row) (Shazeer & Stern 2018, section 3).

    `row` (a,) holds the running means of g² over each row, `column` (b,) over each column; both float32.
    """

    row: torch.Tensor
    column: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """That of the weight."""
        return len(self.row), len(self.column)

    def to(self, device: torch.device) -> "Factored":
        """The same on `device`."""
        return Factored(self.row.to(device), self.column.to(device))

    def between(self, start: int, stop: int) -> torch.Tensor:
        """v of the flattened weight's coordinates `start` to `stop`, (stop − start,) float32."""
        width = len(self.column)
        first = start // width
        rows = self.row[first : -(-stop // width)] / self.row.mean().clamp_min(torch.finfo(torch.float32).tiny)
        return torch.outer(rows, self.column).flatten()[start - first * width : stop - first * width]


@dataclass(frozen=True)
class Moments:
    """The optimizer's state after the warm-up: Adam's, or Adafactor's.

    `m` and `v` map canonical parameter names to float32 tensors of the parameter's shape. Where the optimizer was
    Adafactor, v of weights is `factored` instead, and `m`, which it has not, is empty, and 0 in Γ. `step` is the number
    of optimizer steps taken.
    """

    m: Mapping[str, torch.Tensor]
    v: Mapping[str, torch.Tensor]
    step: int
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    factored: Mapping[str, Factored] = field(default_factory=dict)

    def first(self, name: str, start: int, stop: int) -> torch.Tensor:
        """m of the coordinates `start` to `stop` of a flattened parameter, (stop − start,); the number 0 without m."""
        if not self.m:
            return torch.zeros((), device=self.second(name, start, start).device)
        return self.m[name].reshape(-1)[start:stop]

    def second(self, name: str, start: int, stop: int) -> torch.Tensor:
        """v of the same, (stop − start,)."""
        if name in self.factored:
            return self.factored[name].between(start, stop)
        return self.v[name].reshape(-1)[start:stop]


def adapter_digest(folder: Path) -> str:
    """A hash of what a warm-up kept: settings, parameters and moments; of what is there, if some are missing.

    Raises StoreError if one may not be read.
    """
    total = hashlib.blake2b(digest_size=16)
    for name in _KEPT:
        if not (folder / name).exists():
            continue
        try:
            with (folder / name).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    total.update(chunk)
        except PermissionError:
            raise may_not_be_read(folder / name) from None
    return total.hexdigest()


def save_moments(moments: Moments, path: Path) -> None:
    """Write `moments` atomically: tensors `NAME.m` and `NAME.v`, or `NAME.row` and `NAME.column`; scalars beside."""
    tensors = {f"{name}.m": m.contiguous() for name, m in moments.m.items()}
    tensors |= {f"{name}.v": v.contiguous() for name, v in moments.v.items()}
    for name, of in moments.factored.items():
        tensors |= {f"{name}.row": of.row.contiguous(), f"{name}.column": of.column.contiguous()}
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
    m, v = _ending(tensors, ".m"), _ending(tensors, ".v")
    rows, columns = _ending(tensors, ".row"), _ending(tensors, ".column")
    factored = {name: Factored(row, columns[name]) for name, row in rows.items() if name in columns}
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    for kind, found in (("m", m), ("v", v | factored)):
        if kind == "m" and not m and factored:
            continue  # Adafactor's
        found_shapes = {name: tuple(of.shape) for name, of in found.items()}
        for name in sorted(shapes.keys() | found_shapes.keys()):
            if shapes.get(name) != found_shapes.get(name):
                raise StoreError(
                    f"{path}: expected the moment {kind} of {name} with shape {shapes.get(name)}, found"
                    f" {found_shapes.get(name)}: the moments are not those of this adapter"
                )
    m, v = ({name: kept.to(parameters[name].device) for name, kept in of.items()} for of in (m, v))
    factored = {name: of.to(parameters[name].device) for name, of in factored.items()}
    return Moments(m, v, **scalars, factored=factored)


def _ending(tensors: Mapping[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    return {key.removesuffix(kind): tensor for key, tensor in tensors.items() if key.endswith(kind)}
