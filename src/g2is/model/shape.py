"""What of a model's shape decides costs: counted from its layers, without a number of its weights."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from g2is.model.layers import is_transposed, linear_layers, without_text

_EXPERTS = re.compile(r"(?:^|\.)experts\.")
_ACTIVE = ("num_experts_per_tok", "moe_topk", "moe_top_k", "moe_k", "top_k_experts")  # of all architectures known
_LORA_A = re.compile(r"\.lora_A(?:\.|$)")


@dataclass(frozen=True)
class ModelShape:
    """Numbers of a model, and of what is trained of it: an adapter, or all its linear layers. Each is a count.

    parameters      of the model without an adapter, tied ones once
    blocks          layers of the model that follow each other
    vocabulary      logits of a token
    widths          numbers that a token leaves in the blocks' linear layers until the backward pass: the output of
                    each, and the input, once for layers of one part that read the same; and of experts in one fused
                    parameter those of as many as a token goes through
    inputs          these inputs alone
    coordinates     of what is trained, D
    largest         of its largest parameter
    sums            rows and columns of its matrices and all of its biases, which factored moments have a number for
    adapted_inputs  inputs of the layers that an adapter is on, all of them; 0 without one
    adapted_ranks   what passes through the middle of the adapters of all layers: r for each
    """

    parameters: int
    blocks: int
    vocabulary: int
    widths: int
    inputs: int
    coordinates: int = 0
    largest: int = 0
    sums: int = 0
    adapted_inputs: int = 0
    adapted_ranks: int = 0

    def with_trained(self, trained: Mapping[str, Sequence[int]]) -> "ModelShape":
        """The same with what is trained, shapes by name: of LoRA A (r, i) and B (o, r), or the weights of layers."""
        sizes = {name: math.prod(shape) for name, shape in trained.items()}
        down = [shape for name, shape in trained.items() if _LORA_A.search(name)]
        return replace(
            self,
            coordinates=sum(sizes.values()),
            largest=max(sizes.values(), default=0),
            sums=sum(map(sum, trained.values())),
            adapted_inputs=sum(int(shape[1]) for shape in down),
            adapted_ranks=sum(int(shape[0]) for shape in down),
        )

    def with_rank(self, share: float) -> "ModelShape":
        """The same with an adapter whose rank is that `share` of this one's."""
        return replace(
            self,
            coordinates=round(self.coordinates * share),
            largest=round(self.largest * share),
            adapted_ranks=round(self.adapted_ranks * share),
        )


def shape_of(model: nn.Module, vocabulary: int) -> ModelShape:
    """The shape of `model`, which has no adapter yet and may be on torch's meta device."""
    beside = without_text(model)
    inputs: set[tuple[str, int]] = set()
    outputs, blocks = 0, set[str]()
    for path, layer in linear_layers(model).items():
        parts = path.split(".")
        number = next((at for at, part in enumerate(parts) if part.isdigit()), None)
        if number is None or any(path == part or path.startswith(f"{part}.") for part in beside):
            continue  # the head, whose outputs are the logits; and what text does not go through
        blocks.add(".".join(parts[: number + 1]))
        rows, columns = layer.weight.shape  # type: ignore[misc]
        given, taken = (rows, columns) if is_transposed(layer) else (columns, rows)
        inputs.add((path.rpartition(".")[0], int(given)))
        outputs += int(taken)
    of_experts = _widths_of_fused_experts(model, beside)
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        blocks=len(blocks),
        vocabulary=vocabulary,
        widths=outputs + sum(width for _, width in inputs) + of_experts,
        inputs=sum(width for _, width in inputs),
    )


def _widths_of_fused_experts(model: nn.Module, beside: Collection[str]) -> int:
    """Inputs and outputs of the experts that a token goes through, where one parameter (E, a, b) holds all of them.

    Where the settings do not say how many those are, all E are counted.
    """
    settings: Any = getattr(model, "config", None)
    text = settings.get_text_config() if hasattr(settings, "get_text_config") else settings
    active = next((int(of) for name in _ACTIVE if (of := getattr(text, name, None))), None)
    found = 0
    for path, parameter in model.named_parameters():
        is_of_text = not any(path.startswith(f"{part}.") for part in beside)
        if parameter.dim() == 3 and _EXPERTS.search(path) and is_of_text:
            experts, *sides = parameter.shape
            found += sum(sides) * min(int(experts), active or int(experts))
    return found
