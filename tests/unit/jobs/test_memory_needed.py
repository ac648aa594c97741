"""The arithmetic of memory against numbers worked out by hand for a Llama of 13B, 70B and 405B, and real tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from counted_memory import kept_for_backward, knobs, sizes
from llamas import LLAMAS, config_alone
from transformers import LlamaConfig

from g2is.config import Config, LoraConfig
from g2is.jobs.estimate import shapes_to_run
from g2is.jobs.memory_fit import fit
from g2is.jobs.memory_needed import Knobs, Part, Peak, peaks, typical_shard
from g2is.model.adapter import attach_adapter
from g2is.model.batches import pad_batch
from g2is.model.folder import find_model
from g2is.model.losses import example_losses
from g2is.model.parameters import trainable_parameters
from g2is.model.shape import ModelShape, shape_of

# Worked out by hand, with h hidden, i inner, k = h · heads of keys / heads, L blocks, V vocabulary, r 128:
#   parameters   L·(2h² + 2hk + 3hi + 2h) + 2Vh + h
#   coordinates  L·r·(q: 2h, k and v: h + k each, o: 2h) = L·r·(6h + 2k)
#   largest      r·h
#   widths       L·(outputs h + 2k + h + 2i + h, inputs h of the attention's, h of gate and up, i of down)
BY_HAND = {
    "13B": (13_015_864_320, 209_715_200, 655_360, 40 * (3 * 5120 + 2 * 5120 + 2 * 13824 + 2 * 5120 + 13824)),
    "70B": (70_553_706_496, 524_288_000, 1_048_576, 80 * (3 * 8192 + 2 * 1024 + 2 * 28672 + 2 * 8192 + 28672)),
    "405B": (405_853_388_800, 1_618_477_056, 2_097_152, 126 * (3 * 16384 + 2 * 1024 + 2 * 53248 + 2 * 16384 + 53248)),
}


def shape_from(folder: Path) -> ModelShape:
    values = {"pool": "p", "targets": {"t": ["t"]}, "out": "o", "model": {"name": str(folder)}}
    config = Config.model_validate(values)
    return shapes_to_run(config, find_model(config.model, to_plan=True), None)[0]


@pytest.mark.parametrize("name", LLAMAS)
def test_a_llama_of_that_size_has_the_numbers_worked_out_by_hand(name: str, tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path / name, name))
    hidden, _, blocks, _, _, vocabulary = LLAMAS[name]
    found = (shape.parameters, shape.coordinates, shape.largest, shape.widths)
    assert found == BY_HAND[name]
    assert (shape.blocks, shape.vocabulary) == (blocks, vocabulary)
    assert (shape.adapted_inputs, shape.adapted_ranks) == (blocks * 4 * hidden, blocks * 4 * 128)


def test_the_memory_of_70b_is_that_worked_out_by_hand(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "70B"))
    warm_up, gradients = peaks(shape, knobs())
    # 16 rows of 512 tokens are a batch of 8192; 8 rows of 512 tokens one of the warm-up
    widths, inputs, ranks = BY_HAND["70B"][3], 80 * 4 * 8192, 80 * 4 * 128
    assert sizes(gradients) == {
        "frozen weights": 141_107_412_992,
        "adapter": 2_097_152_000,
        "Adam's moments, signs": 524_288_000 * 9,
        "activations": 8192 * (2 * widths + 4 * ranks + 4 * inputs),
        "logits": 8192 * 128256 * 10,  # 10.5 GB, more than Γ's 16 · 1,048,576 · 12
    }
    assert sizes(warm_up) == {
        "frozen weights": 141_107_412_992,
        "adapter": 2_097_152_000,
        "its gradient": 2_097_152_000,
        "AdamW's moments": 4_194_304_000,
        "activations": 4096 * (2 * widths + 4 * ranks + 5 * inputs),
        "logits": 4096 * 128256 * 10,
    }
    assert gradients.num_bytes == sum(sizes(gradients).values())


@pytest.mark.parametrize(
    ("name", "memory", "fits", "devices"),
    [("13B", 80e9, False, 1), ("13B", 141e9, True, 1), ("70B", 80e9, False, 3), ("405B", 80e9, False, 13)],
)
def test_whether_a_copy_fits_and_over_how_many_it_would(
    name: str, memory: float, fits: bool, devices: int, tmp_path: Path
) -> None:
    shape = shape_from(config_alone(tmp_path, name))
    found = fit(shape, knobs(), int(memory))
    # 13B: 26.0 GB of weights, 0.8 the adapter, 1.9 moments and signs, 78.2 of activations (8192 tokens of 9.5 MB) and
    # 2.6 of logits: 110 GB. 405B: with 512 tokens 812 + 26 + 53 GB are shared by 13, beside 0.7 GB of logits.
    assert found.fits is fits
    assert found.devices_a_copy == devices
    assert list(found.spread_settings.items()) == [
        ("model.device_map", "auto"),
        ("execution.batch_tokens", "512"),
        ("warmup.device_batch_size", "1"),
    ]
    assert fit(shape, knobs(device_type="cpu"), int(memory)).spread_settings == {}  # which has no others like it
    by_hand = max(peak.num_bytes for peak in peaks(shape, knobs()))
    assert found.needed_bytes == by_hand
    assert (by_hand * 1.1 < memory) is fits


def test_settings_that_are_told_make_it_fit_and_none_of_them_is_in_vain(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "13B"))
    asked = knobs(dtype="float32", shards=[np.linspace(20, 2048, 1024).astype(int)], longest=2048)
    found = fit(shape, asked, int(80e9))
    assert not found.fits
    assert set(found.settings) <= {
        *("model.dtype", "warmup.device_batch_size", "execution.batch_tokens"),
        *("examples.max_length", "warmup.lora.rank"),
    }
    names = {
        "execution.batch_tokens": "batch_tokens",
        "warmup.device_batch_size": "device_batch_size",
        "model.dtype": "dtype",
    }
    assert set(found.settings) <= set(names), "a 13B needs no other rows or adapter"
    assert list(found.settings) == [name for name in names if name in found.settings], "the least harmful first"

    def changed(settings: dict[str, str]) -> Knobs:
        values = {names[key]: value if key == "model.dtype" else int(value) for key, value in settings.items()}
        return knobs(**{**vars(asked), **values})

    assert fit(shape, changed(dict(found.settings)), int(80e9)).fits
    for one in found.settings:
        others = {name: value for name, value in found.settings.items() if name != one}
        assert not fit(shape, changed(others), int(80e9)).fits, f"{one} is told in vain"


def test_13b_fits_a_card_of_80_gb_with_half_the_batches(tmp_path: Path) -> None:
    found = fit(shape_from(config_alone(tmp_path, "13B")), knobs(), int(80e9))
    # extraction of 4096 tokens: 26.0 + 2.7 + 39.1 + 1.3 = 69.1 GB; the warm-up's 4096: 26.0 + 3.4 + 42.4 + 1.3 = 73.1,
    # of which 72.7 fit; of 2048: 51.3
    assert found.settings == {"execution.batch_tokens": "4096", "warmup.device_batch_size": "4"}


def test_a_copy_that_is_spread_already_is_counted_on_the_fullest_of_its_devices(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "70B"))
    lean = knobs(batch_tokens=512, device_batch_size=1)
    by_hand = max(peak.on_each_of(4) for peak in peaks(shape, lean))
    found = fit(shape, lean, int(80e9), 4)
    assert (found.fits, found.devices, found.needed_bytes, found.settings) == (True, 4, by_hand, {})
    two = fit(shape, lean, int(80e9), 2)  # too few of them, with whatever batches
    assert (two.fits, two.devices, two.settings, two.devices_a_copy) == (False, 2, {}, 3)
    default = fit(shape, knobs(), int(80e9), 4)  # 141 GB of weights and 256 of activations of 8192 tokens
    assert not default.fits
    assert list(default.settings) == ["execution.batch_tokens", "warmup.device_batch_size"]
    smaller = knobs(
        batch_tokens=int(default.settings["execution.batch_tokens"]),
        device_batch_size=int(default.settings["warmup.device_batch_size"]),
    )
    assert fit(shape, smaller, int(80e9), 4).fits


def test_no_settings_are_told_where_none_helps(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "405B"))
    found = fit(shape, knobs(), int(80e9))
    assert (found.fits, found.settings) == (False, {})
    small = fit(shape, knobs(), 5 * 10**8)  # the logits alone exceed it: no number of devices helps
    assert small.devices_a_copy == 0


def test_whole_blocks_are_dealt_among_devices_and_the_rest_is_on_one() -> None:
    peak = Peak("gradients", [Part("weights", "", 900), Part("logits", "", 100, shared=False)], blocks=9)
    assert (peak.on_each_of(1), peak.on_each_of(3), peak.on_each_of(9)) == (1000, 400, 200)
    assert peak.on_each_of(2) == 100 + 500, "five blocks on one of them"
    assert peak.on_each_of(1000) == peak.on_each_of(9), "no device holds less than a block"


def test_a_copy_is_spread_over_no_more_devices_than_it_has_blocks(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "405B"))
    # 126 blocks of 6.4 GB of weights and 0.2 of what is trained, and their share of activations and embeddings
    found = fit(shape, knobs(), int(24e9))
    assert found.devices_a_copy == 63, "two blocks on each; with three it would be 26 GB"
    assert fit(shape, knobs(batch_tokens=512, device_batch_size=1), int(8e9), 4000).fits is False


def test_the_longest_target_row_is_a_batch_too(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "13B"))
    short, long = np.full(1024, 50), np.full(4, 2048)
    of_pool = peaks(shape, knobs(shards=[short], batch_tokens=512, longest=50))[1]
    of_both = peaks(shape, knobs(shards=[short, long], batch_tokens=512, longest=50))[1]
    a_token = 2 * BY_HAND["13B"][3] + 4 * 40 * 4 * 128 + 4 * 40 * 4 * 5120
    assert sizes(of_pool)["activations"] == 500 * a_token
    assert sizes(of_both)["activations"] == 2048 * a_token


def test_of_a_store_that_exists_only_settings_of_execution_are_proposed(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "13B"))
    settled = fit(shape, knobs(settled=True, trains=False), int(80e9))
    assert list(settled.settings) == ["execution.batch_tokens"]
    none = fit(shape, knobs(settled=True), int(60e9))  # the warm-up of 4096 tokens takes 73 GB
    assert (none.settings, none.settled) == ({}, True)
    assert set(none.spread_settings) == {"model.device_map", "execution.batch_tokens"}


def test_a_smaller_batch_comes_before_another_type(tmp_path: Path) -> None:
    shape = shape_from(config_alone(tmp_path, "13B"))
    found = fit(shape, knobs(dtype="float32"), int(120e9))
    assert found.settings
    assert "model.dtype" not in found.settings


@pytest.mark.parametrize("active", [1, 2, 3])
def test_experts_of_one_parameter_leave_what_those_leave_that_a_token_goes_through(active: int) -> None:
    """A real pass of a Mixtral: all that it keeps for the backward pass, each storage once, without parameters."""
    from transformers import MixtralConfig, MixtralModel

    config = MixtralConfig(
        **{"hidden_size": 64, "intermediate_size": 224, "num_hidden_layers": 4, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": active, "vocab_size": 64},
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    model = MixtralModel(config).requires_grad_(False)
    model.embed_tokens.weight.requires_grad_(True)
    kept = kept_for_backward(model, lambda: model(torch.randint(0, 64, (1, 256))))
    assert 4 * shape_of(model, 64).widths == pytest.approx(kept / 256, rel=0.15)


def test_a_typical_shard_reaches_from_the_shortest_row_to_the_longest() -> None:
    lengths = np.random.default_rng(0).integers(5, 900, 10_000)
    shard = typical_shard(lengths, 64)
    assert (len(shard), shard[0], shard[-1]) == (64, lengths.min(), lengths.max())
    assert abs(np.median(shard) - np.median(lengths)) < 20
    assert typical_shard(lengths[:3], 64).tolist() == sorted(lengths[:3].tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
def test_activations_and_logits_are_those_that_autograd_keeps(dtype: torch.dtype, training: bool) -> None:
    """A real pass of a Llama: all that it keeps for the backward pass, each storage once, without parameters."""
    from transformers import LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=257,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    plain = LlamaForCausalLM(config).to(dtype)
    shape = shape_of(plain, 257)
    model: Any = attach_adapter(plain, LoraConfig(rank=8, dropout=0.1), 0).train(training)
    shape = shape.with_trained({name: of.shape for name, of in trainable_parameters(model).items()})
    rows = [(np.arange(1, 65, dtype=np.int32), np.arange(64) >= 1) for _ in range(4)]
    losses: list[torch.Tensor] = []
    kept = kept_for_backward(model, lambda: losses.append(example_losses(model, pad_batch(rows))))
    asked = knobs(
        dtype=str(dtype).removeprefix("torch."), shards=[np.full(4, 64)], longest=64, batch_tokens=256, trains=True,
        device_batch_size=4, rank=8, device_type="cpu",
    )  # fmt: skip
    counted = sizes(peaks(shape, asked)[0 if training else 1])["activations"]
    logits = 4 * 63 * 257 * 4  # of log-softmax, which autograd keeps; the rest is there for a moment
    assert losses[0].isfinite().all()
    # positions, scales and the first block, whose input needs no gradient, are what differs
    assert counted == pytest.approx(kept - logits, rel=0.1)
