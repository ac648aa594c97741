"""Which linear layers an adapter may reach: those in which tokens meet, in every block, and that text goes through.

A *block* is a member of the model's lists of layers. Its *token-mixing* part is attention of any kind, linear
attention, a state-space or recurrent mixer, or a short convolution: whatever lets a token see those before it.
"""

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

# What architectures call the token-mixing part of a block.
_MIXERS = frozenset(
    {
        *("attn", "attention", "attentions", "self_attn", "self_attention", "self_att", "multi_head_attention"),
        *("SelfAttention", "linear_attn", "linear_attention", "lightning_attn", "temporal_block", "mlstm_layer", "att"),
        *("mamba", "mamba2", "ssm", "mixer", "token_mixer", "sequence_mixer", "time_mixer", "time_mix", "conv"),
        *("short_conv", "delta_net", "gated_deltanet", "kda", "mla", "gla", "retention", "recurrent_block"),
    }
)
# What stands in a mixer's place in the blocks that have none (Nemotron-H calls each of its layers `mixer`).
_FEED_FORWARD = re.compile(r"(?:mlp|moe|moeblock|feedforward|ffn|experts)$", re.IGNORECASE)
# Parts of a mixer that only choose which tokens are looked at, so that no gradient flows through the choice, or that
# are used in rows longer than a window alone.
_CHOOSERS = frozenset({"indexer", "compressor"})
# Parts of a checkpoint that see or hear, where they lie inside the language model or a model's own code says no more.
_SENSES = frozenset(
    {
        *("vision_tower", "vision_model", "visual", "visual_projection", "image_encoder", "vision_embed_tokens"),
        *("embed_tokens_extend", "vision_embedding", "multi_modal_projector", "mm_projector", "connector", "vpm"),
        *("resampler", "audio_tower", "audio_encoder", "speech_encoder", "img_processor", "embed_vision"),
        *("embed_audio", "mlp1"),
    }
)
# Parts that other inputs than the row's tokens go through, or that no gradient comes back from.
_UNUSED = frozenset({"encoder_attn", "cross_attn", "crossattention", "patcher"})
_READ_BY_WEIGHT = re.compile(r"self\.(\w+)\.weight\b(?!\.(?:dtype|device|shape|is_cuda))")


@dataclass(frozen=True)
class Reach:
    """How far an adapter reaches: its number of `layers`, and in how many of the model's `blocks` they lie.

    `missed` counts the kinds of blocks that have none; `beside_text` names the parts of the checkpoint that were left
    out because text does not go through them.
    """

    layers: int
    blocks_reached: int
    blocks: int
    missed: dict[str, int]
    beside_text: tuple[str, ...]

    def __str__(self) -> str:
        text = f"LoRA on {self.layers} layers, in {self.blocks_reached} of {self.blocks} blocks"
        if self.missed:
            text += "; without: " + ", ".join(f"{number} of {kind}" for kind, number in self.missed.items())
        if self.beside_text:
            text += f". Left out, since text does not go through it: {', '.join(self.beside_text)}"
        return text


def is_linear(module: nn.Module) -> bool:
    """Whether `module` is a linear layer, GPT-2's transposed one included.

    A subclass to which a model's code gives another product (a router that returns a tuple, a grouped one) is none.
    """
    name, code = type(module).__name__, getattr(type(module).forward, "__module__", "")
    if is_transposed(module) or name == "FalconLinear":
        return True
    return isinstance(module, nn.Linear) and not code.startswith(("transformers.models.", "transformers_modules."))


def is_transposed(module: nn.Module) -> bool:
    """Whether `module` is GPT-2's linear layer, which keeps its weight as (inputs, outputs)."""
    return type(module).__name__ == "Conv1D"


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The linear layers of `model` by path, in its order."""
    return {path: module for path, module in model.named_modules() if is_linear(module)}


def token_mixing(model: nn.Module, linear: Sequence[str]) -> list[str]:
    """Those of the layers `linear` that lie in a block's token-mixing part, and that LoRA can be put on."""
    # PEFT takes any layer called gate_proj for a part of experts' fused gate_up_proj, and refuses it without up_proj
    fused = any(name.endswith("experts.gate_up_proj") for name, _ in model.named_parameters())
    mixing = [path for path in linear if _mixes_tokens(model, path) and not read_by_weight(model, path)]
    return [path for path in mixing if not (fused and path.endswith(".gate_proj"))]


def without_text(model: nn.Module) -> list[str]:
    """Paths of the parts of a checkpoint that also sees or hears whose layers text does not go through."""
    inner, decoder = _path(model, getattr(model, "base_model", None)), _decoder(model)
    found: list[str] = []
    for path, _ in model.named_modules():
        parts = path.split(".")
        if not path or any(path.startswith(parent + ".") for parent in found):
            continue
        is_beside = decoder != inner and _within(path, inner) and not _within(path, decoder)
        if parts[-1] in _SENSES or (is_beside and path != inner and not _within(decoder, path)):
            found.append(path)
    return [path for path in found if any(is_linear(module) for module in model.get_submodule(path).modules())]


def off_the_text(model: nn.Module, linear: Sequence[str]) -> set[str]:
    """Those of the layers `linear` that text does not go through, or that no gradient comes back from."""
    beside = without_text(model)
    return {
        path
        for path in linear
        if any(_within(path, part) for part in beside) or (_CHOOSERS | _UNUSED) & set(path.split("."))
    }


def read_by_weight(model: nn.Module, path: str) -> bool:
    """Whether a state-space mixer's code takes the layer's weight by itself, past what LoRA adds to the layer.

    Its fused kernels do, where they are installed: which layers get an adapter must not depend on that.
    """
    parent, _, name = path.rpartition(".")
    mixer = model.get_submodule(parent)
    if not any(own.startswith("A_log") for own, _ in mixer.named_parameters(recurse=False)):
        return False
    taken = weights_taken(mixer)
    return name != "in_proj" if taken is None else name in taken  # which every such mixer calls as a layer


def weights_taken(module: nn.Module) -> frozenset[str] | None:
    """The names of the layers whose weights the code of a `module` takes by itself; None if it cannot be read."""
    kind: Any = type(module)
    return _taken(kind)


@cache
def _taken(kind: Any) -> frozenset[str] | None:
    try:
        return frozenset(_READ_BY_WEIGHT.findall(inspect.getsource(kind)))
    except (OSError, TypeError):
        return None


def reach(model: nn.Module, layers: Sequence[str]) -> Reach:
    """How far an adapter on `layers` (paths) reaches in `model`, whose weights are not looked at."""
    beside = without_text(model)
    blocks = [(path, block) for path, block in blocks_of(model) if not any(_within(path, other) for other in beside)]
    missed = [block for path, block in blocks if not any(_within(layer, path) for layer in layers)]
    return Reach(
        len(layers),
        len(blocks) - len(missed),
        len(blocks),
        dict(Counter(_kind(block) for block in missed)),
        tuple(beside),
    )


def _mixes_tokens(model: nn.Module, path: str) -> bool:
    parts = path.split(".")
    if not any(isinstance(model.get_submodule(".".join(parts[:i])), nn.ModuleList) for i in range(1, len(parts))):
        return False
    places = [i for i, part in enumerate(parts[:-1]) if part in _MIXERS]
    if not places or (_CHOOSERS | _UNUSED) & set(parts):
        return False
    inside = (model.get_submodule(".".join(parts[: i + 1])) for i in range(places[0], len(parts) - 1))
    return not any(_FEED_FORWARD.search(type(module).__name__) for module in inside)


def blocks_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The members of the outermost lists of `model` that hold a mixer, by path."""
    lists: list[str] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(_within(path, outer) for outer in lists):
            lists.append(path)
    for path in lists:
        members = list(model.get_submodule(path).named_children())
        mixes = any(
            is_linear(layer) and _mixes_tokens(model, f"{path}.{name}.{inner}" if inner else f"{path}.{name}")
            for name, member in members
            for inner, layer in member.named_modules()
        )
        if mixes:
            yield from ((f"{path}.{name}", member) for name, member in members)


def _kind(block: nn.Module) -> str:
    """A block's class, with what it consists of: blocks of one class may hold different things."""
    inside = {type(child).__name__ for child in block.children() if any(is_linear(m) for m in child.modules())}
    name = type(block).__name__
    return f"{name} ({', '.join(sorted(inside))})" if inside else name


def _decoder(model: Any) -> str:
    """Path of the language model within a model that has other parts, else that of the base model."""
    inner = getattr(model, "base_model", None)
    found = model.get_decoder() if hasattr(model, "get_decoder") else inner
    config = getattr(model, "config", None)
    if config is None or config.get_text_config() is config or found is None:
        found = inner
    return _path(model, found)


def _path(model: nn.Module, module: nn.Module | None) -> str:
    return next((path for path, other in model.named_modules() if other is module), "")


def _within(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith(outer + ".")
