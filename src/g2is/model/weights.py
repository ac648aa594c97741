"""The files of a model's weights: there, whole, safetensors, and holding numbers; before anything is loaded."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from g2is.errors import ModelError, first_line
from g2is.progress import Progress

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_CHUNK = 1 << 24
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")
_MOST_NAMES = 5
_CONVERT = (
    "load them once where you trust them and save them again with transformers' save_pretrained(…), which writes"
    " safetensors"
)


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files but for an adapter's, by name."""
    return sorted(file for file in folder.glob("*.safetensors") if file.name != ADAPTER_WEIGHTS)


def check_is_model(path: Path) -> None:
    """Raise ModelError unless `path` is a folder with config.json and safetensors weights; say what else it holds."""
    gguf = [path] if path.suffix.lower() == ".gguf" else sorted(path.glob("*.gguf")) if path.is_dir() else []
    if gguf and (path.is_file() or not weight_files(path)):
        raise ModelError(
            f"{path}: expected a Hugging Face model folder with config.json and safetensors, found"
            f" {'a GGUF file' if path.is_file() else f'GGUF ({gguf[0].name})'}: weights rounded for llama.cpp, through"
            " which no gradient is taken. Name the model that it was made from, or write it back with transformers'"
            " AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE).save_pretrained(…), its tokenizer beside it"
        )
    if path.is_file():
        raise ModelError(f"{path}: expected a Hugging Face model folder, found a file; name the folder it lies in")
    if (path / ADAPTER_CONFIG).is_file():
        base = _base_model(path)
        raise ModelError(
            f"{path}: expected a whole model, found a LoRA adapter ({ADAPTER_CONFIG}). Give the model it was trained on"
            f" as --model{f' ({base})' if base else ''} and this folder as --adapter, or merge the two with PEFT's"
            " merge_and_unload() and save the result"
        )
    if not (path / "config.json").is_file():
        raise ModelError(
            f"{path}: expected a Hugging Face model folder with config.json, found none there; name the folder that"
            " save_pretrained(…) wrote"
        )
    if not weight_files(path):
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        found = f"found {', '.join(pickles[:_MOST_NAMES])}, which is pickled" if pickles else "found none"
        raise ModelError(
            f"{path}: expected weights in *.safetensors, {found}. g2is loads no pickled weights: convert them"
            f" ({_CONVERT})"
        )


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


def check_numbers(files: Sequence[Path], dtype: torch.dtype) -> None:
    """Raise ModelError naming the weights in `files` that hold NaN or Inf, or numbers that `dtype` cannot hold.

    Each tensor is read once, in the order of the files.
    """
    spoiled, too_large = [], []
    limit = torch.finfo(dtype).max
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                tensor = opened.get_tensor(name)
                if not tensor.is_floating_point() or not tensor.numel():
                    continue
                if tensor.dtype.itemsize == 1:  # 8-bit floats have no minimum
                    tensor = tensor.float()
                low, high = (float(end) for end in tensor.aminmax())  # both NaN where any number is
                largest = max(-low, high)
                if not largest < float("inf"):
                    spoiled.append(f"{name} ({file.name})")
                elif largest > limit:
                    too_large.append(f"{name} ({file.name})")
    if spoiled:
        raise ModelError(
            f"{files[0].parent}: expected numbers in every weight, found NaN or Inf in {_listed(spoiled)}. No setting"
            " mends that: copy or download the model again, or take an earlier checkpoint of its training"
        )
    if too_large:
        kind = str(dtype).removeprefix("torch.")
        raise ModelError(
            f"{files[0].parent}: expected weights that {kind} can hold, found larger numbers in {_listed(too_large)}."
            " Set model.dtype to bfloat16 or float32"
        )


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


def _base_model(adapter: Path) -> str | None:
    try:
        base = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return base if isinstance(base, str) else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )
