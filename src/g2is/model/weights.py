"""The files of a model's weights: there, whole, safetensors, and holding numbers; before anything is loaded."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from g2is.errors import ModelError, first_line, pass_on_too_little_memory
from g2is.model.settings_file import CONFIG, read_settings
from g2is.progress import Progress

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_CHUNK = 1 << 24
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")
_MOST_NAMES = 5
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_AGAIN = "copy or download the model again"
_CONVERT = (
    "load them once where you trust them and save them again with transformers' save_pretrained(…), which writes"
    " safetensors"
)


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads a model's weights from, in its order; none if there are none.

    That is the file or index that config.json names (transformers_weights), else model.safetensors, else what the index
    beside it lists. Raises ModelError for an index that is damaged, or names anything else than files of the folder.
    """
    named = read_settings(folder / CONFIG).get("transformers_weights")
    if named is not None:
        check_name(named, folder / CONFIG, (".safetensors", ".safetensors.index.json"))
    first = next((folder / name for name in (named, _SINGLE, _INDEX) if name and (folder / name).is_file()), None)
    if first is None or (named is not None and first != folder / named):
        return []
    return [first] if first.suffix == ".safetensors" else [folder / name for name in _shards(first)]


def unread_weights(folder: Path) -> list[str]:
    """Names of weights that lie in the folder and are not loaded, since others come first."""
    read = {file.relative_to(folder).as_posix() for file in weight_files(folder)}
    beside = {file.name for file in folder.glob("*.safetensors")} - {ADAPTER_WEIGHTS}
    index = [_INDEX] if (folder / _INDEX).is_file() and _SINGLE in read else []
    return sorted({*beside, *index} - read)


def check_name(name: Any, where: Path, suffixes: tuple[str, ...] = (".safetensors",)) -> None:
    """Raise ModelError unless `name`, which the file `where` gives, is one of weights inside its folder."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or not name.endswith(suffixes) or parts[0] == "/" or ".." in parts or "\\" in name or "\0" in name:
        raise ModelError(
            f"{where}: expected names of files in its folder that end in {' or '.join(suffixes)}, found {name!r}."
            " g2is reads no other: copy the weights there as safetensors"
        )


@dataclass(frozen=True)
class Head:
    """What a file says of one of its weights: its shape, and its type in safetensors' words, such as BF16."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_whole(self) -> bool:
        """Whether it holds whole numbers, or bits."""
        return self.dtype[0] in "IUB" and not self.dtype.startswith("BF")


def weight_heads(files: Sequence[Path]) -> dict[str, Head]:
    """Every weight's head by its name; nothing else of the files is read."""
    heads = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                part = opened.get_slice(name)
                heads[name] = Head(tuple(part.get_shape()), part.get_dtype())
    return heads


def _shards(index: Path) -> list[str]:
    """The names of the files that an index lists, each once, sorted."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ModelError(
            f"{index}: expected the list of the weights' files, found a damaged one ({first_line(error)}); {_AGAIN}"
        ) from None
    for name in names:
        check_name(name, index)
    return sorted(names)


def is_without_weights(path: Path) -> bool:
    """Whether a folder has a model's config.json, and not all files of its weights: none, or an index without them."""
    if not (path / CONFIG).is_file() or any(path.glob("*.gguf")) or (path / ADAPTER_CONFIG).is_file():
        return False
    files = weight_files(path)
    return not (files and all(file.is_file() for file in files))


def check_is_model(path: Path) -> None:
    """Raise ModelError unless `path` is a folder with config.json and safetensors weights; say what else it holds."""
    gguf = [path] if path.suffix.lower() == ".gguf" else sorted(path.glob("*.gguf")) if path.is_dir() else []
    if gguf and (path.is_file() or not any(path.glob("*.safetensors"))):
        raise ModelError(
            f"{path}: expected a Hugging Face model folder with config.json and safetensors, found"
            f" {'a GGUF file' if path.is_file() else f'GGUF ({gguf[0].name})'}: weights rounded for llama.cpp, through"
            " which no gradient is taken. Name the model that it was made from, or write it back with transformers'"
            " AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE).save_pretrained(…), its tokenizer beside it"
        )
    if path.is_file():
        raise ModelError(f"{path}: expected a Hugging Face model folder, found a file; name the folder it lies in")
    if (path / ADAPTER_CONFIG).is_file() and (path / CONFIG).is_file() and any(path.glob("model*.safetensors")):
        raise ModelError(
            f"{path}: expected a whole model alone, found {ADAPTER_CONFIG} beside it: an adapter that transformers"
            " would put on it by itself. Move the adapter's files into a folder of their own, and give that as"
            " --adapter if it is to be used"
        )
    if (path / ADAPTER_CONFIG).is_file():
        base = _base_model(path)
        raise ModelError(
            f"{path}: expected a whole model, found a LoRA adapter ({ADAPTER_CONFIG}). Give the model it was trained on"
            f" as --model{f' ({base})' if base else ''} and this folder as --adapter, or merge the two with PEFT's"
            " merge_and_unload() and save the result"
        )
    if not (path / CONFIG).is_file():
        raise ModelError(
            f"{path}: expected a Hugging Face model folder with config.json, found none there; name the folder that"
            " save_pretrained(…) wrote"
        )
    if not weight_files(path):
        if beside := unread_weights(path):
            raise ModelError(
                f"{path}: expected weights in {_SINGLE}, or in the files that {_INDEX} lists, found neither beside"
                f" {_listed(beside)}; name the file so, or copy the index that came with them"
            )
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        if not pickles:
            raise ModelError(
                f"{path}: expected weights in *.safetensors, found none; name a folder that has them. Of a hub's model"
                " whose settings alone were fetched, as `g2is plan` does, they come where the hub can be reached"
            )
        raise ModelError(
            f"{path}: expected weights in *.safetensors, found {', '.join(pickles[:_MOST_NAMES])}, which is pickled."
            f" g2is loads no pickled weights: convert them ({_CONVERT})"
        )


def _index_in(folder: Path) -> str:
    return str(read_settings(folder / CONFIG).get("transformers_weights") or _INDEX)


def check_weights(path: Path) -> None:
    """Raise ModelError if a file of the weights is missing or cut off, as a download that was stopped leaves it."""
    check_complete(path)
    check_whole(weight_files(path))  # others that lie beside them are not read


def check_complete(path: Path) -> None:
    """Raise ModelError if a file of the weights is missing."""
    files = weight_files(path)
    if missing := [file.name for file in files if not file.is_file()]:
        raise ModelError(
            f"{path}: expected the {len(files)} files of weights that {_index_in(path)} lists, found no"
            f" {', '.join(missing)}; {_AGAIN}"
        )


def check_whole(files: Iterable[Path]) -> None:
    """Raise ModelError if one of these safetensors files is cut off or damaged."""
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            pass_on_too_little_memory(error)
            raise ModelError(
                f"{file}: expected a whole safetensors file, found a damaged one ({first_line(error)}); {_AGAIN}"
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
