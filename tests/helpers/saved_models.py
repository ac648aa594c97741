"""Tiny models of `tests/parity` saved as a user has them, and their gradients as the command takes them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from architectures import ARCHITECTURES, VOCABULARY
from mixers import MIXERS
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from g2is.config import LoraConfig, ModelConfig
from g2is.gradients.per_example import per_example_gradients
from g2is.gradients.pieces import Piece
from g2is.model.adapter import attach_adapter
from g2is.model.batches import Row, pad_batch
from g2is.model.folder import ModelFolder, find_model
from g2is.model.parameters import trainable_parameters

CPU = torch.device("cpu")


def save_tiny(folder: Path, name: str, **settings: Any) -> Path:
    """A random float32 model of the architecture `name`, saved in `folder`; `settings` replace those of its table."""
    known = ARCHITECTURES[name][0] if name in ARCHITECTURES else MIXERS[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(name.removesuffix("-tied"), **{**known, **settings})
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


def found(folder: Path, **settings: Any) -> ModelFolder:
    """The saved model, with the `settings` of section model."""
    return find_model(ModelConfig(name=str(folder), **settings))


def adapted(folder: ModelFolder, device: torch.device = CPU) -> Any:
    """The model as it is loaded, with a LoRA adapter neither of whose matrices is zero, in eval mode."""
    model = attach_adapter(folder.load(device), LoraConfig(rank=4, alpha=8), seed=0)
    generator = torch.Generator().manual_seed(1)
    for path, parameter in model.named_parameters():
        if "lora_B" in path:
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def some_rows(lengths: tuple[int, ...] = (5, 19, 12, 19, 7), seed: int = 0) -> list[Row]:
    """Rows of random tokens, the second half of each learned."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(1, VOCABULARY, n).astype(np.int32), np.arange(n) >= n // 2) for n in lengths]


def gradients(
    model: nn.Module,
    rows: list[Row],
    device: torch.device | str = "cpu",
    compute: Callable[..., torch.Tensor] = per_example_gradients,
) -> dict[str, torch.Tensor]:
    """Each parameter's per-example gradients (B, n), of all `rows` in one batch, by `compute`."""
    of: dict[str, torch.Tensor] = {}
    sizes = {name: parameter.numel() for name, parameter in trainable_parameters(model).items()}

    def sink(name: str, gradient: torch.Tensor, piece: Piece) -> None:
        if name not in of:
            of[name] = torch.full((len(rows), sizes[name]), torch.nan, device=gradient.device)
        of[name][piece.examples, piece.start : piece.stop] = gradient

    compute(model, pad_batch(rows, device), sink)
    assert not any(gradient.isnan().any() for gradient in of.values()), "not all was handed out"
    return of


def whole(of: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """All parameters' gradients side by side, (B, D) float64."""
    return torch.cat([of[name].double() for name in sorted(of)], dim=1)
