"""Models of random weights in public shapes, made from a configuration alone: nothing is downloaded."""

import argparse
import gc
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

_VOCABULARY = 128_256


@dataclass(frozen=True)
class Shape:
    """A Llama's: its name in results; hidden and inner widths, blocks, heads, heads of keys and values."""

    name: str
    hidden: int
    inner: int
    blocks: int
    heads: int
    key_heads: int


SHAPES = {
    "8b": Shape("Llama-3.1-8B's shape, random", 4096, 14_336, 32, 32, 8),
    "1b": Shape("Llama-3.2-1B's shape, head untied, random", 2048, 8192, 16, 32, 8),
    "70b-block": Shape("one block of Llama-3.1-70B's shape, random", 8192, 28_672, 1, 64, 8),
}
BLOCKS_OF_70B = 80
_OVER = 16  # on a CPU


def add_like(command_line: argparse.ArgumentParser, default: str | None = None) -> None:
    """The flag --like, of a benchmark that can do without the model whose tokenizer makes the rows."""
    command_line.add_argument(
        "--like",
        choices=list(SHAPES),
        default=default,
        help="random weights in that shape, in bfloat16, in place of the rows' own model (CPU: a small part)",
    )


def kind_of_shape(like: str, device: torch.device) -> str:
    """What results call the shape `like` on `device`: on a CPU it is two blocks, or one, of a sixteenth of its widths.

    >>> kind_of_shape("8b", torch.device("cpu")), kind_of_shape("8b", torch.device("cuda"))
    ('8b-sixteenth', '8b')
    """
    return f"{like}-sixteenth" if device.type == "cpu" else like


def name_of_shape(like: str, device: torch.device) -> str:
    """The same in words."""
    name = SHAPES[like].name
    return f"{name}, a sixteenth of its widths" if device.type == "cpu" else name


def config_of(like: str, device: torch.device) -> LlamaConfig:
    """The configuration of the shape `like` on `device`."""
    shape, small = SHAPES[like], device.type == "cpu"
    over, heads_over = (_OVER, 8) if small else (1, 1)
    return LlamaConfig(
        **{"vocab_size": _VOCABULARY // over, "hidden_size": shape.hidden // over},
        **{"intermediate_size": shape.inner // over, "max_position_embeddings": 8192},
        num_hidden_layers=min(shape.blocks, 2) if small else shape.blocks,
        num_attention_heads=shape.heads // heads_over,
        num_key_value_heads=shape.key_heads // heads_over,
    )


def random_model(like: str, device: torch.device) -> LlamaForCausalLM:
    """A model of that shape on `device`, its random weights in bfloat16."""
    with device:
        return AutoModelForCausalLM.from_config(config_of(like, device), dtype=torch.bfloat16)


def folder_of(like: str, device: torch.device, place: Path, tokenizer: Path) -> Path:
    """The same as a folder below `place`, with the tokenizer that lies in the folder `tokenizer`.

    It is written once (8B: 16 GB): one that was written only in part is written anew.
    """
    folder = place / kind_of_shape(like, device)
    if folder.exists():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    copy_tokenizer(tokenizer, partial)
    random_model(like, device).save_pretrained(str(partial))
    forget()
    partial.rename(folder)
    return folder


def copy_tokenizer(tokenizer: Path, folder: Path) -> None:
    """Make `folder`, with the tokenizer that lies in the folder `tokenizer` and nothing of its model."""
    shutil.copytree(tokenizer, folder, ignore=shutil.ignore_patterns("*.safetensors", "*config.json", "*.md"))
    shutil.copy(tokenizer / "tokenizer_config.json", folder)


def forget() -> None:
    """Give back the memory of what nothing refers to any more: of models, whose parts refer to each other."""
    gc.collect()
    torch.cuda.empty_cache()
