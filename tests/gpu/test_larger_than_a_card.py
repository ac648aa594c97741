"""Rounded weights, recomputed blocks and a model over several CUDA devices, against one device and float32."""

import importlib.util
from pathlib import Path
from typing import Literal

import pytest
import torch
from saved_models import adapted, found, gradients, save_tiny, some_rows, whole

from g2is.model.devices import is_spread

CUDA = torch.device("cuda")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
# as on a CPU: tests/unit/model/test_quantized.py
COSINE = {"nf4": 0.85, "int8": 0.999}
COSINE_IN_BFLOAT16 = {"nf4": 0.85, "int8": 0.99}


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_rounded_rows_in_bfloat16_are_near_those_of_float32(
    name: str, kind: Literal["nf4", "int8"], tmp_path: Path
) -> None:
    save_tiny(tmp_path, name)
    exact = whole(gradients(adapted(found(tmp_path, dtype="float32"), device=CUDA), some_rows(), CUDA))
    folder = found(tmp_path, dtype="bfloat16", quantization=kind)
    near = whole(gradients(adapted(folder, device=CUDA), some_rows(), CUDA))
    assert torch.cosine_similarity(exact, near).min() >= COSINE_IN_BFLOAT16[kind]


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_rounded_rows_are_near_those_of_float32(name: str, kind: Literal["nf4", "int8"], tmp_path: Path) -> None:
    save_tiny(tmp_path, name)
    exact = whole(gradients(adapted(found(tmp_path, dtype="float32"), device=CUDA), some_rows(), CUDA))
    folder = found(tmp_path, dtype="float32", quantization=kind)
    near = whole(gradients(adapted(folder, device=CUDA), some_rows(), CUDA))
    assert torch.cosine_similarity(exact, near).min() >= COSINE[kind]
    on_cpu = whole(gradients(adapted(folder), some_rows()))
    assert torch.cosine_similarity(on_cpu, near.cpu()).min() > 1 - 1e-4  # what one kernel or the other rounds to


@pytest.mark.parametrize("settings", [{"activation_checkpointing": True}, {"device_map": "auto"}])
@pytest.mark.parametrize("kind", [None, pytest.param("nf4", marks=needs_bitsandbytes)])
def test_rows_are_those_of_one_device(kind: str | None, settings: dict[str, object], tmp_path: Path) -> None:
    if settings.get("device_map") and torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    save_tiny(tmp_path, "llama", num_hidden_layers=4)
    plain = found(tmp_path, dtype="float32", quantization=kind)
    expected = whole(gradients(adapted(plain, device=CUDA), some_rows(), CUDA))
    model = adapted(found(tmp_path, dtype="float32", quantization=kind, **settings), device=CUDA)
    assert is_spread(model) == ("device_map" in settings)
    here = {name: of.to(CUDA) for name, of in gradients(model, some_rows(), CUDA).items()}
    assert torch.cosine_similarity(whole(here), expected).min() > 1 - 1e-6
