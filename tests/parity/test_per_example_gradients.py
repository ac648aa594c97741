"""Batched per-example gradients against a plain loop of single-example autograd through transformers' own loss."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, VOCABULARY, tiny_adapted_model
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from g2is.errors import ModelError
from g2is.gradients.per_example import UnbatchableError, per_example_gradients, single_example_gradients
from g2is.gradients.pieces import Piece
from g2is.model.batches import IGNORED_LABEL, pad_batch
from g2is.model.parameters import canonical_name, trainable_parameters

Row = tuple[np.ndarray, np.ndarray]
Side = Literal["left", "right"]


def random_rows(lengths: tuple[int, ...] = (5, 19, 12, 19, 7), seed: int = 0) -> list[Row]:
    """Rows with prompts and answers of several lengths, one of them with two answers."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, length in enumerate(lengths):
        learned = np.arange(length) >= rng.integers(1, length - 1)
        if number == 1:
            learned = (np.arange(length) // 4) % 2 == 1
        rows.append((rng.integers(1, VOCABULARY, length).astype(np.int32), learned))
    return rows


def gradients_by_plain_autograd(model: Any, row: Row) -> tuple[dict[str, torch.Tensor], float]:
    """The reference: one unpadded example, transformers' own loss, loss.backward()."""
    ids = torch.from_numpy(row[0].astype(np.int64))[None]
    labels = torch.where(torch.from_numpy(row[1])[None], ids, IGNORED_LABEL)
    model.zero_grad()
    loss = model(input_ids=ids, labels=labels, use_cache=False).loss
    loss.backward()
    found = {canonical_name(n): p.grad.clone().flatten() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found, loss.item()


def collected(model: Any, rows: list[Row], side: Side = "right", **options: object) -> dict[str, torch.Tensor]:
    gradients = {name: torch.full((len(rows), p.numel()), torch.nan) for name, p in trainable_parameters(model).items()}

    def sink(name: str, gradient: torch.Tensor, piece: Piece) -> None:
        place = gradients[name][piece.examples, piece.start : piece.stop]
        assert place.isnan().all(), f"{name} was handed out twice"
        place.copy_(gradient)

    compute = options.pop("compute", per_example_gradients)
    gradients["loss"] = compute(model, pad_batch(rows, side=side), sink, **options)  # type: ignore[operator]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values()), "not all was handed out"
    return gradients


def assert_equal_autograd(model: Any, rows: Sequence[Any], gradients: dict[str, torch.Tensor], what: str) -> None:
    """The collected gradients and losses of a batch are those of its rows one by one."""
    losses = gradients.pop("loss")
    for b, row in enumerate(rows):
        expected, loss = gradients_by_plain_autograd(model, row)
        assert losses[b].item() == pytest.approx(loss, rel=1e-5)
        assert gradients.keys() == expected.keys()
        for parameter, gradient in gradients.items():
            error = (gradient[b] - expected[parameter]).norm() / expected[parameter].norm()
            assert error < 1e-4, f"{what} row {b} {parameter}: relative error {error:.2e}"


@pytest.mark.parametrize("layers", ["attention", "mlp"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batched_gradients_equal_a_loop_of_autograd(name: str, layers: str) -> None:
    model, rows = tiny_adapted_model(name, layers), random_rows()
    sides: tuple[Side, ...] = ("right", "left")
    for side in sides:
        assert_equal_autograd(model, rows, collected(model, rows, side), f"{name} {side}")


IMPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "ranks and alphas by pattern": (
        "llama",
        {"rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 7}, "alpha_pattern": {"k_proj": 30, "o_proj": 1}},
    ),
    "rslora on every linear layer": ("llama", {"target_modules": "all-linear", "use_rslora": True}),
    "only some layers": ("llama", {"layers_to_transform": [1], "exclude_modules": ["k_proj"]}),
    "biases of B": ("opt", {"lora_bias": True, "target_modules": ["q_proj", "v_proj", "fc1"]}),
    "transposed weights": ("gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"], "rank_pattern": {"c_fc": 3}}),
    "the head": ("llama", {"target_modules": ["lm_head", "q_proj"]}),
}


@pytest.mark.parametrize("case", IMPORTED)
def test_gradients_of_an_adapter_that_a_user_brings_equal_autograd(case: str) -> None:
    name, settings = IMPORTED[case]
    lora = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj", "k_proj", "v_proj"], **settings}
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **ARCHITECTURES[name][0]), dtype=torch.float32)
    model = get_peft_model(base, PeftLoraConfig(**lora)).eval()
    for path, parameter in model.named_parameters():
        if "lora_B" in path:
            torch.nn.init.normal_(parameter, std=0.1)
    rows = random_rows()
    assert_equal_autograd(model, rows, collected(model, rows), case)


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    model, rows = tiny_adapted_model(name, "attention"), random_rows((6, 31, 9, 14, 22, 8, 40))
    whole = collected(model, rows)
    for split in ([[0], [1, 2, 3], [4, 5, 6]], [[6, 0], [5, 1], [4, 2], [3]]):
        for part in split:
            of_part = collected(model, [rows[i] for i in part])
            for parameter in whole.keys() - {"loss"}:
                cosine = torch.cosine_similarity(of_part[parameter].double(), whole[parameter][part].double())
                assert cosine.min() > 1 - 1e-5, f"{parameter} in batch {part}: cosine {cosine.min():.8f}"


def test_the_single_example_path_gives_the_same_gradients() -> None:
    model, rows = tiny_adapted_model("llama", "mlp"), random_rows()
    batched = collected(model, rows)
    looped = collected(model, rows, compute=single_example_gradients)
    assert batched.keys() == looped.keys()
    for parameter, gradient in batched.items():
        torch.testing.assert_close(gradient, looped[parameter], rtol=1e-4, atol=1e-6)


def test_training_goes_on_as_before_after_gradients_were_taken() -> None:
    model, rows = tiny_adapted_model("llama", "attention"), random_rows()
    before, _ = gradients_by_plain_autograd(model, rows[1])
    collected(model, rows)
    after, _ = gradients_by_plain_autograd(model, rows[1])
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_layer_used_twice_in_a_pass_gets_the_sum_of_both_uses() -> None:
    model, rows = tiny_adapted_model("llama", "attention"), random_rows()
    layers = model.base_model.model.model.layers
    layers[1].self_attn.q_proj = layers[0].self_attn.q_proj
    gradients = collected(model, rows)
    for b, row in enumerate(rows):
        expected, _ = gradients_by_plain_autograd(model, row)
        for parameter, gradient in expected.items():
            assert (gradients[parameter][b] - gradient).norm() < 1e-4 * gradient.norm()


def test_a_trainable_parameter_outside_linear_layers_cannot_be_batched_but_can_be_looped() -> None:
    model, rows = tiny_adapted_model("llama", "attention"), random_rows()
    model.base_model.model.model.norm.weight.requires_grad_(True)
    with pytest.raises(UnbatchableError, match=r"model\.norm\.weight belongs to LlamaRMSNorm"):
        collected(model, rows)
    looped = collected(model, rows, compute=single_example_gradients)
    for b, row in enumerate(rows):
        expected, _ = gradients_by_plain_autograd(model, row)
        assert (looped["model.norm.weight"][b] - expected["model.norm.weight"]).norm() < 1e-5


def test_a_trainable_parameter_without_gradient_is_an_error_that_names_it() -> None:
    model, rows = tiny_adapted_model("llama", "attention"), random_rows()
    model.add_module("unused", torch.nn.Linear(3, 3, bias=False))
    for compute in (per_example_gradients, single_example_gradients):
        with pytest.raises(ModelError, match=r"1 without: unused\.weight"):
            collected(model, rows, compute=compute)
