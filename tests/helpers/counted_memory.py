"""What tests ask the arithmetic of memory with."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from g2is.jobs.memory_needed import Knobs, Peak


def knobs(**given: Any) -> Knobs:
    """Default settings on a GPU, rows of 512 tokens; `given` replace them."""
    values = {
        **{"dtype": "bfloat16", "batch_tokens": 8192, "device_batch_size": 8, "max_length": 2048, "rank": 128},
        **{"shards": [np.full(1024, 512)], "longest": 512, "dropout": True, "num_checkpoints": 1, "trains": True},
        **given,
    }
    return Knobs(**values)


def sizes(peak: Peak) -> dict[str, int]:
    """Bytes of each part, by its name."""
    return {part.name: part.num_bytes for part in peak.parts}


def kept_for_backward(model: nn.Module, run: Callable[[], Any]) -> int:
    """Bytes that autograd keeps of the passes of `run` for the backward pass, each storage once, without parameters."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(kept.values())
