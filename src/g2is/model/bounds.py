"""A model that is made of its settings alone may not outgrow its weights: settings can say anything, weights are there.

It is made on torch's meta device, where numbers take no memory; but layers do, and what is loaded later does.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from g2is.errors import ModelError
from g2is.model.weights import Head

# Tied weights are made twice and kept once, quantised ones hold up to eight numbers in one: settings that lie by more
# than that are told from those that do not.
_TIMES, _PACKED = 4, 16
_SPARE = 1 << 24  # numbers that every model may have beside
_MOST_MODULES = 250_000  # parameters; the largest public ones have a fifth of it


class TooLargeError(Exception):
    """Settings say more than the weights hold."""


@contextmanager
def bounded(shapes: Iterable[Sequence[int]], is_quantised: bool) -> Iterator[None]:
    """While a model is made: raise TooLargeError once it has many more numbers than weights of `shapes`.

    Buffers, which no file need hold, may have as many beside, and a gigabyte.
    """
    held = sum(math.prod(shape) for shape in shapes)
    most = held * (_PACKED if is_quantised else _TIMES) + _SPARE
    limits = {"parameters": most, "buffers": most + (1 << 28)}
    made, count = dict.fromkeys(limits, 0), 0

    def counts(kind: str) -> Any:
        def hook(_module: nn.Module, _name: str, tensor: Any) -> None:
            nonlocal count
            if tensor is None:
                return
            made[kind] += tensor.numel()
            count += 1
            if made[kind] > limits[kind] or count > _MOST_MODULES:
                raise TooLargeError(
                    f"found settings of a model of at least {made[kind]:,} numbers in {count:,} {kind}, where the"
                    f" weights hold {held:,}"
                )

        return hook

    hooks = [
        register_module_parameter_registration_hook(counts("parameters")),
        register_module_buffer_registration_hook(counts("buffers")),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def check_places(path: Path, model: nn.Module, heads: Mapping[str, Head], is_quantised: bool) -> None:
    """Raise ModelError if weights of the folder `path` have no place in `model`, being of a block behind its last one,
    or hold whole numbers where it computes with others: transformers would leave out those, and take these as they are.
    """
    ignored = getattr(type(model), "_keys_to_ignore_on_load_unexpected", None) or ()  # those it knows not to use
    names = [name for name in heads if not any(re.search(one, name) for one in ignored)]
    floats = {name for name, of in model.named_parameters() if of.is_floating_point()}
    whole = [name for name in names if heads[name].is_whole and name in floats]
    if whole and not is_quantised:
        raise ModelError(
            f"{path}: expected numbers with a fraction in every weight that is computed with, found"
            f" {heads[whole[0]].dtype} in {', '.join(whole[:3])}{' …' * (len(whole) > 3)}, and nothing in config.json"
            " of how they were rounded (quantization_config). Name the model that they were made from"
        )
    if beyond := _blocks_beyond(model, names):
        raise ModelError(
            f"{path}: expected config.json to have a place for every block of the weights, found none for"
            f" {len(beyond)} weights: {', '.join(beyond[:3])}{' …' * (len(beyond) > 3)}. Its number of layers is"
            " another than that of the weights: take the config.json that came with them"
        )


def _blocks_beyond(model: nn.Module, unexpected: Iterable[str]) -> list[str]:
    """Weights that the model has no place for, and that are of a block behind its last one, by name."""
    found = []
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            inside = ((name, name.removeprefix(f"{path}.").split(".")[0]) for name in unexpected)
            found += [name for name, number in inside if number.isdigit() and int(number) >= len(module)]
    return sorted(set(found))
