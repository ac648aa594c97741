"""The base model and its tokenizer, from a local folder or the hub, as safetensors only."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
)

from g2is.config import ModelConfig
from g2is.errors import ModelError, first_line, pass_on_too_little_memory
from g2is.model.weights import check_is_model, check_numbers, check_weights, files_digest, weight_files
from g2is.progress import Progress

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "vocab.txt", "spiece.model")
_CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
# In transformers' mapping of causal models, and yet every token sees those after it: always, or without is_decoder.
_LOOK_AHEAD = frozenset({"xlm", "xlnet", "cpmant"})
_ENCODERS = frozenset(
    {
        *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
        *("reformer", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta"),
        *("xlm-roberta-xl", "xmod"),
    }
)
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

    @property
    def num_embeddings(self) -> int | None:
        """Rows of the model's embedding, if its settings tell: ids of tokens lie below it."""
        size = getattr(self.hf_config.get_text_config(), "vocab_size", None)
        return int(size) if size else None

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
            pass_on_too_little_memory(error)
            _refuse_foreign_code(self.path / "tokenizer_config.json", self.config)
            raise ModelError(
                f"{self.path}: expected a tokenizer that transformers loads, but: {first_line(error)}"
            ) from None

    def load(self, device: torch.device) -> PreTrainedModel:
        """Load the model on `device`, in the configured dtype and eval mode. Raises ModelError if that fails."""
        try:
            model, report = _auto_class(self.hf_config).from_pretrained(
                self.path,
                dtype=resolve_dtype(self.config, device),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=self.config.trust_remote_code,
                output_loading_info=True,
            )
        except Exception as error:  # a cut-off file, other shapes than config.json says, a missing package …
            pass_on_too_little_memory(error)
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
        if hasattr(model.config, "rescale_every"):
            # RWKV would halve weights in place when it does not train, and not what LoRA adds to them
            model.config.rescale_every = 0
        return model.to(device).eval()

    def without_weights(self) -> PreTrainedModel:
        """The model's layers and parameter shapes on torch's meta device; no weights are read.

        Raises ModelError if its settings make no model.
        """
        try:
            with torch.device("meta"):
                model: PreTrainedModel = _auto_class(self.hf_config).from_config(
                    self.hf_config, trust_remote_code=self.config.trust_remote_code
                )
        except Exception as error:  # settings that do not go together, a package that is not installed …
            pass_on_too_little_memory(error)
            raise ModelError(
                f"{self.path}: expected a causal language model that transformers makes of config.json, but:"
                f" {first_line(error)}"
            ) from None
        return model

    def digest(self, progress: Progress) -> str:
        """A hash of the model's settings and weights, whatever the folder is called; progress in bytes."""
        return files_digest([self.path / "config.json", *weight_files(self.path)], progress)

    def check_blocks(self) -> None:
        """Raise ModelError if the weights have blocks behind the model's last: transformers would leave them out."""
        model, names = self.without_weights(), []
        ignored = getattr(type(model), "_keys_to_ignore_on_load_unexpected", None) or ()  # those it knows not to use
        for file in weight_files(self.path):
            with safe_open(file, framework="pt") as opened:
                names += [name for name in opened.keys() if not any(re.search(one, name) for one in ignored)]  # noqa: SIM118
        if beyond := _blocks_beyond(model, names):
            raise ModelError(
                f"{self.path}: expected config.json to have a place for every block of the weights, found none for"
                f" {len(beyond)} weights: {', '.join(beyond[:3])}{' …' * (len(beyond) > 3)}. Its number of layers is"
                " another than that of the weights: take the config.json that came with them"
            )

    def check_numbers(self, dtype: torch.dtype) -> None:
        """Raise ModelError if the weights hold NaN or Inf, or what `dtype` cannot hold."""
        check_numbers(weight_files(self.path), dtype)


def _blocks_beyond(model: torch.nn.Module, unexpected: Iterable[str]) -> list[str]:
    """Weights that the model has no place for, and that are of a block behind its last one, by name."""
    found = []
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList):
            inside = ((name, name.removeprefix(f"{path}.").split(".")[0]) for name in unexpected)
            found += [name for name, number in inside if number.isdigit() and int(number) >= len(module)]
    return sorted(set(found))


def context_length(hf_config: Any) -> int | None:
    """Tokens that a model with these settings can attend to, if they tell."""
    length = getattr(hf_config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None


def find_model(config: ModelConfig) -> ModelFolder:
    """Find the model's folder, fetching it from the hub if `config.name` is no local folder.

    Raises ModelError if it is not there, has no safetensors weights, or is not a causal language model.
    """
    path = Path(config.name)
    if not path.exists():
        path = fetch(config.name, config.revision)
    check_is_model(path)
    check_weights(path)
    try:
        hf_config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=config.trust_remote_code)
    except Exception as error:
        pass_on_too_little_memory(error)
        _refuse_foreign_code(path / "config.json", config)
        raise ModelError(f"{path}: expected a config.json that transformers can read: {first_line(error)}") from None
    remote = {"AutoModelForCausalLM", "AutoModelForMultimodalLM"} & set(getattr(hf_config, "auto_map", None) or {})
    known = hf_config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or _also_sees(hf_config)
    # an encoder such as BERT is in the mapping too, and would attend to the answer it is to predict
    heads = hf_config.architectures or ["ForCausalLM"]
    writes = known and (any(head.endswith(_CAUSAL_HEADS) for head in heads) or _also_sees(hf_config))
    if remote and not known:
        _refuse_foreign_code(path / "config.json", config)
    if getattr(hf_config, "is_encoder_decoder", False) or (not remote and not writes):
        raise ModelError(
            f"{path}: expected a causal language model, found model_type {hf_config.model_type!r}, architectures"
            f" {hf_config.architectures}; name a model that writes text, such as a Llama"
        )
    kind = hf_config.model_type
    if kind in _LOOK_AHEAD or (kind in _ENCODERS and not hf_config.is_decoder):
        raise ModelError(
            f"{path}: expected a causal language model, found {hf_config.model_type!r}, which looks at the very tokens"
            " that it is to predict (is_decoder false in config.json, or a model that is made so); set is_decoder to"
            " true if it was trained as a decoder, or name a model that writes text, such as a Llama"
        )
    return ModelFolder(path, config, hf_config)


def _auto_class(hf_config: Any) -> Any:
    """The class that a checkpoint was saved from: of one that also sees or hears, that with all its parts."""
    return AutoModelForMultimodalLM if _also_sees(hf_config) else AutoModelForCausalLM


def _also_sees(hf_config: Any) -> bool:
    whole = MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.get(hf_config.model_type)
    text = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(hf_config.model_type)
    return whole is not None and whole != text and (whole in (hf_config.architectures or ()) or text is None)


def _refuse_foreign_code(settings: Path, config: ModelConfig) -> None:
    """Raise ModelError if `settings` name code that comes with the model, and it is not to be run."""
    try:
        named = json.loads(settings.read_text(encoding="utf-8")).get("auto_map")
    except (OSError, ValueError, AttributeError):
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
