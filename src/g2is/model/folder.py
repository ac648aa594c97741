"""The base model and its tokenizer, from a local folder or the hub, as safetensors only."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoTokenizer

from g2is.config import ModelConfig
from g2is.errors import ModelError, first_line, pass_on_too_little_memory
from g2is.model.bounds import TooLargeError, bounded, check_places
from g2is.model.causal import auto_class, brings_code, check_causal, is_known
from g2is.model.hub import fetch
from g2is.model.plain_files import check_plain_files
from g2is.model.quantized import check_rounding, held
from g2is.model.remote_code import code_files
from g2is.model.settings_file import (
    BITSANDBYTES,
    CONFIG,
    GENERATION_CONFIG,
    TOKENIZER_CONFIG,
    check_settings,
    read_settings,
    way_of_rounding,
)
from g2is.model.tokenizer_check import check_tokenizer
from g2is.model.weights import (
    Head,
    check_is_model,
    check_numbers,
    check_weights,
    files_digest,
    is_without_weights,
    unread_weights,
    weight_files,
    weight_heads,
)
from g2is.progress import Progress

if TYPE_CHECKING:  # the code of models takes seconds to import, and finding one needs none of it
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "vocab.txt", "spiece.model")
Stamp = tuple[int, int, int]
_MOST_WITHOUT_WEIGHTS = 1 << 42  # numbers that settings alone may say: four times what the largest public models have


@dataclass(frozen=True)
class ModelFolder:
    """A model on local disk: its folder, its settings, and how to load it. Nothing heavy is held.

    `stamps` tells of the files that are loaded how large and of when they were as the model was found. One without
    weights (`has_weights` False) can be made without them alone.
    """

    path: Path
    config: ModelConfig
    hf_config: Any
    stamps: Mapping[Path, Stamp] = field(default_factory=dict)
    has_weights: bool = True

    @property
    def has_tokenizer(self) -> bool:
        """Whether a vocabulary lies in the folder."""
        return any((self.path / name).exists() for name in _VOCABULARIES)

    @property
    def context_length(self) -> int | None:
        """Tokens the model can attend to, if its settings tell."""
        return context_length(self.hf_config)

    @property
    def num_embeddings(self) -> int | None:
        """Rows of the model's embedding, if its settings tell: ids of tokens lie below it."""
        size = getattr(self.hf_config.get_text_config(), "vocab_size", None)
        return int(size) if size else None

    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """Load the tokenizer. Raises ModelError if there is none."""
        if not self.has_tokenizer:  # some classes would make an empty one up
            raise ModelError(
                f"{self.path}: expected a tokenizer beside the model, found none of {', '.join(_VOCABULARIES)}. Save it"
                " there with the tokenizer's save_pretrained(…)"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                self.path, local_files_only=True, trust_remote_code=self.config.trust_remote_code
            )
        except Exception as error:  # whatever a tokenizer's own code or file gives rise to
            _refuse_foreign_code(self.path / TOKENIZER_CONFIG, self.config)
            pass_on_too_little_memory(error)
            raise ModelError(
                f"{self.path}: expected a tokenizer that transformers loads, but: {first_line(error)}"
            ) from None
        check_tokenizer(tokenizer, str(self.path))
        return tokenizer

    def load(self, device: torch.device) -> "PreTrainedModel":
        """Load the model on `device`, or spread from there, as configured and in eval mode.

        Raises ModelError if that fails.
        """
        from g2is.model.loading import load_model

        return load_model(self, device, resolve_dtype(self.config, device))

    def without_weights(self) -> "PreTrainedModel":
        """The model's layers and parameter shapes on torch's meta device; no weights are read.

        Raises ModelError if its settings make no model, or one that has many more numbers than its weights.
        """
        shapes = [head.shape for head in self._heads().values()] if self.has_weights else [(_MOST_WITHOUT_WEIGHTS,)]
        try:
            with torch.device("meta"), bounded(shapes, self.rounded_by is not None):
                model: PreTrainedModel = auto_class(self.hf_config).from_config(
                    self.hf_config, trust_remote_code=self.config.trust_remote_code
                )
        except TooLargeError as error:
            raise ModelError(
                f"{self.path}: expected a model that its weights fill, {error}: take the config.json that came with"
                " them"
            ) from None
        except Exception as error:  # settings that do not go together, a package that is not installed …
            pass_on_too_little_memory(error)
            raise ModelError(
                f"{self.path}: expected a causal language model that transformers makes of config.json, but:"
                f" {first_line(error)}"
            ) from None
        return model

    def files(self) -> list[Path]:
        """All that decides what is computed: settings, weights, and code where it is run; in the order of the hash.

        Raises ModelError for an index or code that names what is not in the folder. A tokenizer is
        told by what it does: see `tokenizer_digest`.
        """
        code = code_files(self.path) if self.config.trust_remote_code else []
        return [self.path / CONFIG, *weight_files(self.path), *code]

    def notices(self) -> list[str]:
        """What of the folder is not used: weights that others come before, and code of its own."""
        read = [file.relative_to(self.path).as_posix() for file in weight_files(self.path)]
        notices = []
        if unread := unread_weights(self.path):
            notices.append(
                f"{self.path}: weights are read from {read[0]}{f' and {len(read) - 1} more' * (len(read) > 1)};"
                f" not read: {', '.join(unread[:5])}{' …' * (len(unread) > 5)}"
            )
        if getattr(self.hf_config, "auto_map", None) and not self.config.trust_remote_code:
            notices.append(
                f"{self.path}: the model brings code of its own (auto_map), which is not run: transformers' own is"
            )
        return notices

    def rounding_notices(self, device: torch.device) -> list[str]:
        """What becomes of the weights beside their type: how many are rounded, and what they then take."""
        dtype = resolve_dtype(self.config, device)
        kind, name = self.config.quantization, str(dtype).removeprefix("torch.")
        if kind is None:
            return (
                [f"{self.path}: weights of 8 bits (fp8) are read back to {name}, and take its memory"]
                if self.rounded_by not in (None, BITSANDBYTES)
                else []
            )
        of = held(kind, self.without_weights(), dtype.itemsize)
        num = of.num_rounded + of.num_plain
        return [
            f"{self.path}: {of.num_rounded:,} of {num:,} weights are rounded ({kind}); the frozen model takes"
            f" {of.num_bytes / 2**30:.2f} GiB, in {name} {num * dtype.itemsize / 2**30:.2f}"
        ]

    def num_bytes(self, num_parameters: int, device: torch.device) -> int:
        """What so many parameters take on `device`; all of the model's, or none of them."""
        dtype = resolve_dtype(self.config, device)
        if num_parameters and self.config.quantization is not None:
            return held(self.config.quantization, self.without_weights(), dtype.itemsize).num_bytes
        if num_parameters and self.rounded_by == BITSANDBYTES:
            return sum(file.stat().st_size for file in weight_files(self.path))
        return num_parameters * dtype.itemsize

    def digest(self, progress: Progress) -> str:
        """A hash of the files that decide what is computed, whatever the folder is called; progress in bytes.

        Raises ModelError if one changed since the model was found.
        """
        digest = files_digest(self.files(), progress)
        self.check_unchanged()
        return digest

    def check_unchanged(self) -> None:
        """Raise ModelError if a file of the model is another than when it was found: what was hashed is not loaded."""
        if changed := [file.name for file, stamp in self.stamps.items() if _stamp(file) != stamp]:
            raise ModelError(
                f"{self.path}: expected the model as it was when the command began, found {', '.join(changed[:5])}"
                " changed since; let the folder be, and give the command again"
            )

    def check_blocks(self) -> None:
        """Raise ModelError if the weights have blocks behind the model's last, which transformers would leave out, or
        hold whole numbers where the model computes with others, which it would take as they are.
        """
        check_places(self.path, self.without_weights(), self._heads(), self.rounded_by is not None)

    @property
    def rounded_by(self) -> str | None:
        """The way in which the checkpoint's own weights are rounded, if they are: a name of transformers."""
        return way_of_rounding(getattr(self.hf_config, "quantization_config", None))

    def _heads(self) -> dict[str, Head]:
        return weight_heads(weight_files(self.path))

    def check_numbers(self, dtype: torch.dtype) -> None:
        """Raise ModelError if the weights hold NaN or Inf, or what `dtype` cannot hold."""
        check_numbers(weight_files(self.path), dtype)


def context_length(hf_config: Any) -> int | None:
    """Tokens that a model with these settings can attend to, if they tell."""
    length = getattr(hf_config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None


def find_model(config: ModelConfig, *, to_plan: bool = False) -> ModelFolder:
    """Find the model's folder, fetching it from the hub if `config.name` is no local folder.

    Where it is only `to_plan` with, its settings suffice: no weights are fetched, and none need be there. Raises
    ModelError if it is not there, has no safetensors weights, or is not a causal language model.
    """
    path = Path(config.name)
    if not path.exists():
        path = fetch(config.name, config.revision, weights=not to_plan)
    check_plain_files(path)
    has_weights = not (to_plan and is_without_weights(path))
    if has_weights:
        check_is_model(path)
        check_weights(path)
    for name in (CONFIG, TOKENIZER_CONFIG, GENERATION_CONFIG):
        if (path / name).is_file():
            settings = read_settings(path / name)
            if name == CONFIG:
                heads = weight_heads(weight_files(path)) if has_weights else {}
                check_settings(settings, path / name, [head.shape for head in heads.values()])
    try:
        hf_config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=config.trust_remote_code)
    except Exception as error:
        pass_on_too_little_memory(error)
        _refuse_foreign_code(path / "config.json", config)
        raise ModelError(f"{path}: expected a config.json that transformers can read: {first_line(error)}") from None
    if brings_code(hf_config) and not is_known(hf_config):
        _refuse_foreign_code(path / CONFIG, config)
    check_causal(hf_config, path)
    model = ModelFolder(path, config, hf_config, has_weights=has_weights)
    check_rounding(path, config.quantization, model.rounded_by)
    return model if not has_weights else replace(model, stamps={file: _stamp(file) for file in model.files()})


def _stamp(file: Path) -> Stamp:
    """Size, time of the last change, and number of a file: another file, or another content, has others."""
    try:
        of = file.stat()
    except OSError:
        return (-1, 0, 0)
    return of.st_size, of.st_mtime_ns, of.st_ino


def _refuse_foreign_code(settings: Path, config: ModelConfig) -> None:
    """Raise ModelError if `settings` name code that comes with the model, and it is not to be run."""
    try:
        named = read_settings(settings).get("auto_map")
    except ModelError:
        return
    if named and not config.trust_remote_code:
        raise ModelError(
            f"{settings}: expected a model whose code is part of transformers, found one that brings its own"
            f" (auto_map). Read that code, and run it with --set model.trust_remote_code=true if you trust it: it can"
            " do whatever you can"
        )


def resolve_device(name: str) -> torch.device:
    """The device that `name` means here: auto, cpu, cuda or mps. Raises ModelError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if ":" in name:  # the Trainer takes the first visible one
        raise ModelError(
            f"execution.device: expected cpu or cuda, found {name!r}. Choose among several GPUs with the environment"
            " variable CUDA_VISIBLE_DEVICES"
        )
    if name not in ("cpu", "cuda", "mps"):
        raise ModelError(f"execution.device: expected auto, cpu, cuda or mps, found {name!r}")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"execution.device: expected a device of this machine, found {name!r}: {first_line(error)}"
        ) from None
    return device


def resolve_dtype(config: ModelConfig, device: torch.device) -> torch.dtype:
    """The dtype of the frozen weights on `device`."""
    if config.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype = getattr(torch, config.dtype)
    assert isinstance(dtype, torch.dtype)
    return dtype
