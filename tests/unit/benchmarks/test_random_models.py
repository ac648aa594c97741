"""Models of random weights in public shapes, and what they hold where their weights are rounded."""

import importlib.util
from pathlib import Path
from typing import Literal

import pytest
import torch
from transformers import AutoModelForCausalLM

from common.measure import GIB
from common.places import BUNDLED_MODEL
from common.sample import read_rows
from common.shapes import SHAPES, config_of, folder_of
from g2is.config import ModelConfig
from g2is.model.folder import find_model
from speed.rounded import held_bytes, of_all_blocks, ready

CPU = torch.device("cpu")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.mark.parametrize(
    ("like", "parameters"),
    [
        ("8b", 8_030_261_248),  # as Llama-3.1-8B has them
        ("1b", 1_235_814_400 + 128_256 * 2048),  # as Llama-3.2-1B, and a head of its own
        ("70b-block", 2 * 128_256 * 8192 + 8192 + 855_654_400),  # 8192 * (2 * 8192 + 2 * 1024 + 3 * 28672 + 2) a block
    ],
)
def test_a_shape_has_the_parameters_of_the_model_that_it_is_named_after(like: str, parameters: int) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(like, torch.device("cuda")))
    assert sum(of.numel() for of in model.parameters()) == parameters
    assert set(SHAPES) == {"8b", "1b", "70b-block"}


def test_a_folder_is_written_once_and_one_that_was_cut_off_anew(tmp_path: Path) -> None:
    (tmp_path / "8b-sixteenth.partial").mkdir()
    folder = folder_of("8b", CPU, tmp_path, BUNDLED_MODEL)
    assert [place.name for place in tmp_path.iterdir()] == ["8b-sixteenth"]
    weights = folder / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert folder_of("8b", CPU, tmp_path, BUNDLED_MODEL) == folder
    assert weights.stat().st_mtime_ns == before
    found = find_model(ModelConfig(name=str(folder)))
    assert (found.hf_config.hidden_size, found.hf_config.num_hidden_layers) == (256, 2)
    assert found.tokenizer().chat_template


@needs_bitsandbytes
@pytest.mark.parametrize(("kind", "least"), [("nf4", 0.9), ("int8", 0.999)])
def test_what_rounded_weights_hold_is_what_is_counted_and_their_rows_are_near(
    kind: Literal["nf4", "int8"], least: float, tmp_path: Path
) -> None:
    place = folder_of("70b-block", CPU, tmp_path, BUNDLED_MODEL)
    config = ModelConfig(name=str(place), dtype="bfloat16")
    folder = find_model(config)
    rows = read_rows(False, 4, folder)
    plain = ready(folder, CPU, 4, rows, like=None)
    side = ready(find_model(config.model_copy(update={"quantization": kind})), CPU, 4, rows, plain.model)
    parameters = sum(of.numel() for of in folder.without_weights().parameters())
    assert folder.num_bytes(parameters, CPU) == 2 * parameters
    assert plain.weights == 2 * parameters + 2 * 32 * 4  # and rotary frequencies of heads of 64, held twice
    # beside what is counted: tables of 16 and 256 numbers a layer
    assert side.weights == pytest.approx(side.folder.num_bytes(parameters, CPU), rel=0.005)
    assert side.weights < 0.9 * plain.weights
    assert (side.rows * plain.rows).sum(1).min() > least
    assert side.peak is None
    # 80 blocks of 8 x 8 projections of 512, three of 1792 x 512, and two norms; embedding and head of 8016 x 512
    block = 512 * (2 * 512 + 2 * 64 + 3 * 1792 + 2)
    assert of_all_blocks(plain) == pytest.approx(2 * (80 * block + 2 * 8016 * 512 + 512) / GIB, abs=0.01)
    assert held_bytes(plain.model) > plain.weights  # and the adapter
