"""What gradients of whole weights take of memory stays below `execution.gradient_bytes`, as measured by the system."""

import ctypes
import json
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from g2is.config import ProjectionConfig
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.projection import Projection
from g2is.model.all_linear import make_all_trainable
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Factored, Moments

MIB = 2**20
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h
SHAPE = {
    **{"vocab_size": 97, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 1},
    **{"num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False},
}


def measure(result: Path, most_bytes: int | None) -> None:
    """The most memory that extraction of eight short rows took beyond what it began with, in bytes."""
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1 << 16)  # what is freed is given back, so that what is held is measured
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = AutoConfig.for_model("llama", **SHAPE)
    model = make_all_trainable(AutoModelForCausalLM.from_config(config, dtype=torch.float32)).eval()
    parameters = trainable_parameters(model)
    v = {name: Factored(*(torch.full((n,), 1e-8) for n in p.shape)) for name, p in parameters.items()}
    state = AdapterState({name: p.detach() for name, p in parameters.items()}, Moments({}, {}, 1, factored=v))
    projection = Projection(ProjectionConfig(dim=1024), {name: p.numel() for name, p in parameters.items()})
    # what is set up once, by pieces so small that the allocator keeps nothing of them
    first = Extractor(model, {"c": state}, projection, 128, lambda _: None, 100_000)
    extractor = Extractor(model, {"c": state}, projection, 128, lambda _: None, most_bytes)
    rng = np.random.default_rng(0)
    rows = [(rng.integers(1, 97, 12).astype(np.int32), np.arange(12) >= 6) for _ in range(8)]
    keys = np.zeros((8, 16), np.uint8)
    first.extract(rows, keys, ["momentum-free"])
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    extractor.extract(rows, keys, ["momentum-free"])
    result.write_text(json.dumps(held("VmHWM") - before))


def held(field: str) -> int:
    line = next(of for of in Path("/proc/self/status").read_text().splitlines() if of.startswith(field))
    return int(line.split()[1]) * 1024


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no peak of memory that can be set back")
def test_memory_stays_below_the_bound_and_would_not_without_it(tmp_path: Path) -> None:
    took = {}
    for bound in (8 * MIB, 64 * MIB, None):
        result = tmp_path / "took"
        assert forked.ended(forked.start(measure, result, bound)) == 0
        took[bound] = json.loads(result.read_text())
    # a layer has a million weights, so gradients of eight examples are 32 MiB, and Γ makes of them three times as much
    beside = 8 * MIB  # activations of a hundred tokens, and what Python and the allocator keep
    assert took[8 * MIB] < 8 * MIB + beside, took
    assert took[64 * MIB] < 64 * MIB + beside, took
    assert took[None] > 80 * MIB, took
