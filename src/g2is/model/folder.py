"""The base model and its tokenizer, from a local folder or the hub, as safetensors only."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from g2is.config import ModelConfig
from g2is.errors import ModelError, first_line
from g2is.progress import Progress

_CHUNK = 1 << 24
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "vocab.txt", "spiece.model")
_CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_WANTED_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]


@dataclass(frozen=True)
class ModelFolder:
    """A model on local disk: its folder, its settings, and how to load it. Nothing heavy is held."""

    path: Path
    config: ModelConfig
    hf_config: Any

    @property
    def context_length(self) -> int | None:
        """Tokens the model can attend to, if its settings tell."""
        return context_length(self.hf_config)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer. Raises ModelError if there is none."""
        if not any((self.path / name).exists() for name in _VOCABULARIES):  # some classes would make an empty one up
            raise ModelError(
                f"{self.path}: expected a tokenizer beside the model, found none of {', '.join(_VOCABULARIES)}. Save it"
                " there with the tokenizer's save_pretrained(…)"
            )
        try:
            return AutoTokenizer.from_pretrained(
                self.path, local_files_only=True, trust_remote_code=self.config.trust_remote_code
            )
        except Exception as error:  # whatever a tokenizer's own code or file gives rise to
            raise ModelError(
                f"{self.path}: expected a tokenizer that transformers loads, but: {first_line(error)}"
            ) from None

    def load(self, device: torch.device) -> PreTrainedModel:
        """Load the model on `device`, in the configured dtype and eval mode. Raises ModelError if that fails."""
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                self.path,
                dtype=resolve_dtype(self.config, device),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=self.config.trust_remote_code,
                output_loading_info=True,
            )
        except Exception as error:  # a cut-off file, other shapes than config.json says, a missing package …
            raise ModelError(
                f"{self.path}: expected a causal language model with safetensors weights, but it cannot be loaded:"
                f" {first_line(error)}"
            ) from None
        missing = sorted(report["missing_keys"])
        if missing:  # transformers would go on with random numbers there
            raise ModelError(
                f"{self.path}: expected weights for every parameter, found none for {len(missing)}: "
                + ", ".join(missing[:5])
            )
        return model.to(device).eval()

    def without_weights(self) -> PreTrainedModel:
        """The model's layers and parameter shapes on torch's meta device; no weights are read."""
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(self.hf_config, trust_remote_code=self.config.trust_remote_code)

    def digest(self, progress: Progress) -> str:
        """A hash of the model's settings and weights, whatever the folder is called; progress in bytes."""
        return files_digest([self.path / "config.json", *sorted(self.path.glob("*.safetensors"))], progress)


def files_digest(files: Sequence[Path], progress: Progress) -> str:
    """A hash of the files' contents in order, 32 hex digits; progress in bytes."""
    total, done, size = hashlib.blake2b(digest_size=16), 0, sum(file.stat().st_size for file in files)
    for file in files:
        of_file = hashlib.blake2b(digest_size=16)
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                of_file.update(chunk)
                done += len(chunk)
                progress(done, size)
        total.update(of_file.digest())
    return total.hexdigest()


def context_length(hf_config: Any) -> int | None:
    """Tokens that a model with these settings can attend to, if they tell."""
    length = getattr(hf_config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None


def find_model(config: ModelConfig) -> ModelFolder:
    """Find the model's folder, fetching it from the hub if `config.name` is no local folder.

    Raises ModelError if it is not there, has no safetensors weights, or is not a causal language model.
    """
    path = Path(config.name)
    if not path.is_dir():
        path = fetch(config.name, config.revision)
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{path}: expected a Hugging Face model folder with config.json, found none there; name the folder that"
            " save_pretrained(…) wrote"
        )
    if not any(path.glob("*.safetensors")):
        raise ModelError(
            f"{path}: expected weights in *.safetensors, found none. g2is loads no pickled weights: convert them with"
            " transformers' save_pretrained(…), which writes safetensors"
        )
    check_weights(path)
    try:
        hf_config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=config.trust_remote_code)
    except Exception as error:
        raise ModelError(f"{path}: expected a config.json that transformers can read: {first_line(error)}") from None
    remote = "AutoModelForCausalLM" in (getattr(hf_config, "auto_map", None) or {})
    known = hf_config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    # an encoder such as BERT is in the mapping too, and would attend to the answer it is to predict
    heads = hf_config.architectures or ["ForCausalLM"]
    if not remote and not (known and any(head.endswith(_CAUSAL_HEADS) for head in heads)):
        raise ModelError(
            f"{path}: expected a causal language model, found model_type {hf_config.model_type!r}, architectures"
            f" {hf_config.architectures}; name a model that writes text, such as a Llama"
        )
    return ModelFolder(path, config, hf_config)


def resolve_device(name: str) -> torch.device:
    """The device that `name` means here: auto, cpu, cuda or mps. Raises ModelError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if ":" in name:  # the Trainer takes the first visible one
        raise ModelError(
            f"execution.device: expected cpu or cuda, found {name!r}. Choose among several GPUs with the environment"
            " variable CUDA_VISIBLE_DEVICES"
        )
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


def fetch(name: str, revision: str | None = None) -> Path:
    """Fetch a hub model, or find what was fetched before. Raises ModelError if the hub does not give it."""
    advice = "name a local folder, or a hub model that this machine can reach"
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: expected a model folder, found no folder there; {advice}")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED_FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name}: expected a model, found no folder of that name, and the hub does not give it"
            f" ({first_line(error)}); {advice}"
        ) from None


def check_weights(path: Path) -> None:
    """Raise ModelError if a file of the weights is missing or cut off, as a download that was stopped leaves it."""
    again = "copy or download the model again"
    index = path / "model.safetensors.index.json"
    if index.exists():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
            raise ModelError(
                f"{index}: expected the list of the weights' files, found a damaged one ({first_line(error)}); {again}"
            ) from None
        if missing := sorted(name for name in names if not (path / name).is_file()):
            raise ModelError(
                f"{path}: expected the {len(names)} files of weights that {index.name} lists, found no"
                f" {', '.join(missing)}; {again}"
            )
    for file in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{file}: expected a whole safetensors file, found a damaged one ({first_line(error)}); {again}"
            ) from None
