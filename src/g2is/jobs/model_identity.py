"""Which model work is made with, wherever the model lies."""

from dataclasses import dataclass

import torch

from g2is.config import ModelConfig, Quantization
from g2is.config.later import without_unsaid
from g2is.machine.products import times_slower
from g2is.model.folder import ModelFolder, resolve_dtype
from g2is.progress import Reporter
from g2is.store.fingerprint import Fingerprint

_SLOW = 3.0  # times as long as float32: less is not worth a word, for memory may be what is short


@dataclass(frozen=True)
class ModelIdentity:
    """A digest of the model's settings and weights, the type that frozen weights are computed in, their rounding."""

    weights: str
    dtype: torch.dtype
    quantization: Quantization | None = None

    def in_store(self) -> dict[str, str]:
        """The mapping of a store's fingerprint."""
        return {"weights": self.weights, "dtype": str(self.dtype).removeprefix("torch."), **self._rounded}

    def in_manifest(self) -> dict[str, str]:
        """The mapping of a work folder's manifest: dtype is "torch.float32", as in all that were ever written."""
        return {"weights": self.weights, "dtype": str(self.dtype), **self._rounded}

    @property
    def _rounded(self) -> dict[str, str]:
        return without_unsaid({"quantization": self.quantization}, "model.")


def identify(
    model: ModelFolder, config: ModelConfig, device: torch.device, reporter: Reporter, stored: Fingerprint | None = None
) -> ModelIdentity:
    """Hash the model's files; `config` and `device` decide the type.

    Says what of the folder is not used. Raises ModelError if a file changed meanwhile, or if its weights hold blocks
    that its settings have no place for, NaN or Inf, or what the type cannot hold. The model that a store was made with
    (`stored`) was looked through then: the same files are not again.
    """
    dtype = resolve_dtype(config, device)
    for text in [*model.notices(), *model.rounding_notices(device)]:
        reporter.notice(text)
    with reporter.stage("check model", "bytes") as progress:
        identity = ModelIdentity(model.digest(progress), dtype, config.quantization)
        if any((stored or {}).get(f"model.{name}") != value for name, value in identity.in_store().items()):
            model.check_blocks()
            model.check_numbers(dtype)
    return identity


def say_slow_products(
    dtype: torch.dtype, device: torch.device, reporter: Reporter, setting: str = "model.dtype"
) -> None:
    """Say so if `setting` makes a CPU multiply in a type that it is slow in: it may take hours for minutes."""
    if device.type == "cpu" and dtype in (torch.bfloat16, torch.float16) and (times := times_slower(dtype)) > _SLOW:
        name = str(dtype).removeprefix("torch.")
        reporter.notice(
            f"{setting}: this CPU takes about {times:.0f} times as long to multiply in {name} as in float32; leave it"
            " out if float32 fits into memory"
        )
