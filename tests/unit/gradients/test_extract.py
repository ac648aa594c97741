from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from architectures import tiny_adapted_model
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from g2is.config import GammaForm, ProjectionConfig
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.projection import Projection
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Moments
from g2is.store.rows import has_direction


def random_rows(num_rows: int = 9) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(3)
    lengths = rng.integers(6, 30, num_rows)
    return [(rng.integers(1, 97, n).astype(np.int32), np.arange(n) >= n // 2) for n in lengths]


def make_extractor(
    model: PeftModel, notices: list[str], batch_tokens: int = 64, names: Sequence[str] = ("epoch-1",)
) -> Extractor:
    parameters = trainable_parameters(model)
    generator = torch.Generator().manual_seed(0)

    def state() -> AdapterState:
        moments = Moments(
            {name: torch.randn(p.shape, generator=generator) * 1e-3 for name, p in parameters.items()},
            {name: torch.rand(p.shape, generator=generator) * 1e-5 for name, p in parameters.items()},
            step=10,
        )
        return AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)

    projection = Projection(ProjectionConfig(dim=512), {name: p.numel() for name, p in parameters.items()})
    return Extractor(model, {name: state() for name in names}, projection, batch_tokens, notices.append)


def keys_of(rows: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    return np.arange(16 * len(rows), dtype=np.uint8).reshape(-1, 16)


def test_the_token_budget_changes_rows_by_no_more_than_rounding() -> None:
    rows = random_rows()
    notices: list[str] = []
    shards = [
        make_extractor(tiny_adapted_model("llama", "attention"), notices, budget).extract(
            rows, keys_of(rows), ["less", "sgd"]
        )
        for budget in (1, 64, 10_000)
    ]
    assert not notices
    for form in ("less", "sgd"):
        first, *others = (shard.arrays for shard in shards)
        for other in others:
            ours, theirs = (of[f"epoch-1/{form}/rows"].astype(np.float64) for of in (first, other))
            assert np.einsum("rk,rk->r", ours, theirs).min() > 1 - 1e-3  # two float16 roundings
            np.testing.assert_allclose(first[f"epoch-1/{form}/norm"], other[f"epoch-1/{form}/norm"], rtol=1e-4)


def test_several_forms_from_one_pass_are_those_of_separate_passes() -> None:
    rows = random_rows()
    notices: list[str] = []
    names = ("epoch-1", "epoch-2")  # each with moments of its own
    extractor = make_extractor(tiny_adapted_model("llama", "attention"), notices, names=names)
    together = extractor.extract(rows, keys_of(rows), ["less", "momentum-free", "normalized"])
    forms: tuple[GammaForm, ...] = ("less", "momentum-free", "normalized")
    for form, name in product(forms, names):
        alone = extractor.extract(rows, keys_of(rows), [form])
        ours, theirs = (of.arrays[f"{name}/{form}/rows"] for of in (together, alone))
        if form != "less":
            assert np.array_equal(ours, theirs)
            continue
        # together it is momentum-free plus the shared part: equal but for a float32's rounding before a float16's
        np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=2**-10, atol=1e-6)
        assert (ours == theirs).mean() > 0.99


def test_a_model_whose_examples_influence_each_other_falls_back_and_says_so() -> None:
    rows = random_rows()
    notices: list[str] = []
    model = tiny_adapted_model("llama", "attention")
    alone = make_extractor(model, notices, batch_tokens=1).extract(rows, keys_of(rows), ["sgd"])
    layer = model.base_model.model.model.layers[0]
    layer.register_forward_hook(lambda _module, _inputs, output: output + 0.3 * (output.mean(0, keepdim=True) - output))
    mixed = make_extractor(model, notices).extract(rows, keys_of(rows), ["sgd"])
    assert len(notices) == 1
    assert "one example at a time" in notices[0]
    assert "influence each other" in notices[0]
    # one at a time the hook does nothing, so the rows are those of the model without it
    found, expected = (shard.arrays["epoch-1/sgd/rows"] for shard in (mixed, alone))
    np.testing.assert_allclose(found.astype(np.float32), expected.astype(np.float32), atol=2e-3)


def test_rows_that_say_nothing_of_batches_leave_it_to_the_next() -> None:
    """One target example is a batch by itself, whatever the model does with several."""
    rows = random_rows()
    notices: list[str] = []
    model = tiny_adapted_model("llama", "attention")
    layer = model.base_model.model.model.layers[0]
    layer.register_forward_hook(lambda _module, _inputs, output: output + 0.3 * (output.mean(0, keepdim=True) - output))
    alone = make_extractor(model, notices, batch_tokens=1).extract(rows, keys_of(rows), ["sgd"])
    assert not notices, "in batches of one nothing mixes"
    extractor, too_long = make_extractor(model, notices), [(rows[0][0].repeat(3), rows[0][1].repeat(3))] * 2
    for few in (rows[:1], too_long):  # two of them share no batch
        extractor.extract(few, keys_of(few), ["sgd"])
    assert not notices
    found = extractor.extract(rows, keys_of(rows), ["sgd"])
    assert "influence each other" in notices[0]
    ours, theirs = (shard.arrays["epoch-1/sgd/rows"].astype(np.float32) for shard in (found, alone))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


@pytest.mark.parametrize("room", [1, 2, 3])
def test_where_few_rows_fit_in_memory_no_more_are_tried_together(room: int) -> None:
    rows = [(np.arange(1, 21, dtype=np.int32) + row, np.arange(20) >= 9) for row in range(6)]
    notices: list[str] = []
    model = tiny_adapted_model("llama", "attention")
    expected = make_extractor(model, notices, batch_tokens=1).extract(rows, keys_of(rows), ["sgd"])

    def too_small(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[0] > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.base_model.model.model.embed_tokens.register_forward_pre_hook(too_small)
    found = make_extractor(model, notices, batch_tokens=60).extract(rows, keys_of(rows), ["sgd"])
    assert ["did not fit in memory" in notice for notice in notices] == ([] if room > 2 else [True])
    ours, theirs = (shard.arrays["epoch-1/sgd/rows"].astype(np.float64) for shard in (found, expected))
    assert np.einsum("rk,rk->r", ours, theirs).min() > 1 - 1e-3


def turned_by_length(**rope: object) -> PeftModel:
    """A model whose angles change at 16 tokens, and in which places count."""
    shape: dict[str, Any] = {
        **{"vocab_size": 97, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "pad_token_id": 0},
        **{"bos_token_id": 1, "eos_token_id": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
        "rope_parameters": {"rope_theta": 1e4, **rope},
    }
    torch.manual_seed(0)
    if rope["rope_type"] == "longrope":
        places = {"max_position_embeddings": 256, "original_max_position_embeddings": 16}
        inner, modules = Phi3ForCausalLM(Phi3Config(**shape, **places)), ["qkv_proj"]
    else:
        inner, modules = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=16)), ["q_proj", "k_proj"]
    model = get_peft_model(inner, LoraConfig(r=4, target_modules=modules))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora" in name:
                parameter.normal_(std=0.3)
            elif "proj" in name:
                parameter.mul_(8)
    return model.eval()


LONG = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1.0 + 3 * i for i in range(8)]}


@pytest.mark.parametrize(
    ("rope", "lengths", "exact"),
    [
        (LONG, (8, 9, 12, 14, 16, 17, 20, 24), 8),
        (LONG, (14, 20, 24, 26), 4),  # the three shortest lie on both sides
        ({"rope_type": "dynamic", "factor": 8.0}, (8, 9, 12, 15, 40), 4),  # a longer one goes by what came before
    ],
)
def test_rows_on_both_sides_of_other_angles_share_no_batch(
    rope: dict[str, object], lengths: tuple[int, ...], exact: int
) -> None:
    model, rng = turned_by_length(**rope), np.random.default_rng(0)
    rows = [(rng.integers(3, 97, n).astype(np.int32), np.arange(n) >= n // 2) for n in lengths]

    def extracted(batch_tokens: int, *, apart: bool = True) -> tuple[np.ndarray, list[str]]:
        notices: list[str] = []
        extractor = make_extractor(model, notices, batch_tokens)
        if not apart:
            extractor._apart = None
        found = extractor.extract(rows, keys_of(rows), ["sgd"]).arrays["epoch-1/sgd/rows"]
        return found.astype(np.float64), notices

    alone, together, mixed = extracted(1), extracted(4096), extracted(4096, apart=False)
    assert not alone[1] + together[1]
    assert np.einsum("rk,rk->r", alone[0], together[0])[:exact].min() > 1 - 1e-3
    seen = "influence each other" in "".join(mixed[1]) or np.einsum("rk,rk->r", alone[0], mixed[0])[0] < 0.99
    assert seen, "with this model nothing is to be seen"


def test_rows_without_a_direction_leave_it_to_longer_ones_of_the_shard() -> None:
    rows = random_rows()
    shortest = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))[:3]
    notices: list[str] = []
    model = tiny_adapted_model("llama", "attention")
    with torch.no_grad():
        model.get_input_embeddings().weight[96] = float("nan")
    for number, (ids, _) in enumerate(rows):
        ids[ids == 96] = 95
        if number in shortest:
            ids[1] = 96
    layer = model.base_model.model.model.layers[0]
    layer.register_forward_hook(lambda _module, _inputs, output: output + 0.3 * (output.roll(1, 0) - output))
    make_extractor(model, notices, batch_tokens=90).extract(rows, keys_of(rows), ["sgd"])
    assert "influence each other" in notices[0]


def test_a_layer_that_cannot_be_batched_falls_back_and_says_so() -> None:
    rows = random_rows(4)
    notices: list[str] = []
    model = tiny_adapted_model("llama", "attention")
    model.base_model.model.model.norm.weight.requires_grad_(True)
    shard = make_extractor(model, notices).extract(rows, keys_of(rows), ["sgd"])
    assert "LlamaRMSNorm" in notices[0]
    assert has_direction(shard.arrays["epoch-1/sgd/norm"]).all()


def test_a_nan_in_the_model_sets_aside_only_the_rows_that_see_it() -> None:
    rows = random_rows()
    notices: list[str] = []
    rows[4][0][2] = 96
    for number, (ids, _) in enumerate(rows):
        if number != 4:
            ids[ids == 96] = 95
    model = tiny_adapted_model("llama", "attention")
    with torch.no_grad():
        model.get_input_embeddings().weight[96] = float("nan")
    norm = make_extractor(model, notices).extract(rows, keys_of(rows), ["sgd"]).arrays["epoch-1/sgd/norm"]
    assert np.flatnonzero(~has_direction(norm)).tolist() == [4]
