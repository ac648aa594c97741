from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from architectures import tiny_adapted_model
from peft import PeftModel

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
