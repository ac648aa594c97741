"""What tests ask the arithmetic of memory with."""

from typing import Any

import numpy as np

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
