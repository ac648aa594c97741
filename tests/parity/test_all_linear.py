"""`gradients.parameters: all`: gradients of whole weights against autograd, rows against Γ and sketch of these."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, tiny_model
from test_per_example_gradients import Side, collected, gradients_by_plain_autograd, random_rows
from transformers.optimization import Adafactor

from g2is.config import GammaForm, ModelConfig, ProjectionConfig
from g2is.errors import ModelError
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.per_example import per_example_gradients, single_example_gradients
from g2is.gradients.pieces import cut, held
from g2is.gradients.projection import Projection
from g2is.model.all_linear import all_linear, make_all_trainable
from g2is.model.batches import pad_batch
from g2is.model.folder import find_model
from g2is.model.losses import example_losses
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Factored, Moments
from g2is.warmup.moments import moments_of

# Linear layers of two blocks; the head comes on top where its weight is its own.
LINEAR = {name: {"gpt2": 8, "opt": 12}.get(name, 14) for name in ARCHITECTURES}
FORMS: tuple[GammaForm, ...] = ("momentum-free", "less", "normalized", "sgd")


def all_of(name: str) -> Any:
    return make_all_trainable(tiny_model(name))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_linear_layer_is_taken_and_its_gradient_is_autograds(name: str) -> None:
    model, rows = all_of(name), random_rows()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    taken, left_out = all_linear(model)
    assert list(left_out.values()) == ["its weight is the embedding's"] * tied
    assert len(taken) == LINEAR[name] + (not tied)
    weights = {f"{path}.{kind}" for path in taken for kind, _ in model.get_submodule(path).named_parameters()}
    assert trainable_parameters(model).keys() == weights
    sides: tuple[Side, ...] = ("right", "left")
    for side in sides:
        found = collected(model, rows, side)
        for b, row in enumerate(rows):
            expected, loss = gradients_by_plain_autograd(model, row)
            assert found["loss"][b].item() == pytest.approx(loss, rel=1e-5)
            assert found.keys() - {"loss"} == expected.keys()
            check_near(found, b, expected, f"{name} {side}")


def check_near(found: dict[str, torch.Tensor], b: int, expected: dict[str, torch.Tensor], what: str) -> None:
    """Each to 1e-4 of its own length, or to a millionth of the whole, of which rounding is.

    A bias of keys (OPT's, GPT-2's) has no gradient, since softmax does not see it: all of it is rounding.
    """
    whole = torch.cat(list(expected.values())).norm()
    for parameter, gradient in expected.items():
        error = (found[parameter][b].to(gradient.dtype) - gradient).norm()
        assert error < 1e-4 * gradient.norm() + 1e-6 * whole, f"{what} row {b} {parameter}: {error:.2e}"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_gradients_are_those_of_float64(name: str) -> None:
    model, rows = all_of(name), random_rows()
    found = collected(model, rows)
    exact = deepcopy(model).double()
    for b, row in enumerate(rows):
        expected, _ = gradients_by_plain_autograd(exact, row)
        check_near(found, b, expected, f"{name}, float64")


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize("most_bytes", [1, 3_000, 60_000, 500_000])
def test_pieces_of_any_size_are_parts_of_the_same_gradients(name: str, most_bytes: int) -> None:
    model, rows = all_of(name), random_rows()
    whole = collected(model, rows)
    for compute in (per_example_gradients, single_example_gradients):
        by_pieces = collected(model, rows, most_bytes=most_bytes, compute=compute)
        for parameter, gradient in whole.items():
            torch.testing.assert_close(by_pieces[parameter], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("most_bytes", [1, 100, 5_000, 10**6, None])
@pytest.mark.parametrize("shape", [(7, 11), (300, 5), (13,)])
def test_a_cut_holds_every_coordinate_of_every_example_once_and_no_piece_is_beyond_the_bound(
    shape: tuple[int, ...], most_bytes: int | None
) -> None:
    size = int(np.prod(shape))
    count = np.zeros((6, size), int)
    for piece in cut(6, shape, most_bytes):
        count[piece.examples, piece.start : piece.stop] += 1
        assert piece.start % shape[-1] == 0
        num_examples = piece.examples.stop - piece.examples.start
        one_row = num_examples == 1 and piece.stop - piece.start == shape[-1]
        assert most_bytes is None or one_row or held(num_examples, piece.stop - piece.start) <= most_bytes
    assert (count == 1).all()


def moments_for(model: Any, factored: bool) -> Moments:
    generator = torch.Generator().manual_seed(0)
    shapes = {name: tuple(p.shape) for name, p in trainable_parameters(model).items()}
    random = {name: torch.rand(shape, generator=generator) * 1e-5 + 1e-8 for name, shape in shapes.items()}
    if not factored:
        m = {name: torch.randn(shape, generator=generator) * 1e-3 for name, shape in shapes.items()}
        return Moments(m, random, 10)
    v = {name: of for name, of in random.items() if of.ndim == 1}
    return Moments(
        {}, v, 10, factored={name: Factored(of.mean(1), of.mean(0)) for name, of in random.items() if of.ndim > 1}
    )


def plainly_adjusted(form: GammaForm, g: torch.Tensor, m: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Γ as method.md writes it."""
    if form == "sgd":
        return g
    if form == "normalized":
        return g / (v.sqrt() + 1e-8)
    less = (0.9 * m + 0.1 * g) / (0.999 * v + 0.001 * g**2 + 1e-8).sqrt()
    return less if form == "less" else less - 0.9 * m / (0.999 * v + 1e-8).sqrt()


@pytest.mark.parametrize("factored", [False, True], ids=["adam", "factored"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_rows_are_the_sketch_of_gamma_of_autograds_gradients_whatever_the_pieces(name: str, factored: bool) -> None:
    model, rows = all_of(name), random_rows((5, 19, 12, 19, 7, 30))
    moments = moments_for(model, factored)
    parameters = trainable_parameters(model)
    projection = Projection(ProjectionConfig(dim=512), {name: p.numel() for name, p in parameters.items()})
    expected = {form: torch.zeros(len(rows), 512, dtype=torch.float64) for form in FORMS}
    for b, row in enumerate(rows):
        gradients, _ = gradients_by_plain_autograd(model, row)
        for parameter, gradient in gradients.items():
            if parameter in moments.factored:
                of = moments.factored[parameter]
                v = torch.outer(of.row, of.column) / of.row.mean()
            else:
                v = moments.v[parameter]
            m = moments.m.get(parameter, torch.zeros(()))
            for form in FORMS:
                gamma = plainly_adjusted(form, gradient.double(), m.double().flatten(), v.double().flatten())
                projection.add_(expected[form][b : b + 1], parameter, gamma[None])
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)
    keys = np.zeros((len(rows), 16), np.uint8)
    for batch_tokens, most_bytes in ((10_000, None), (10_000, 2_000), (10_000, 200_000), (1, 50_000)):
        notices: list[str] = []
        extractor = Extractor(model, {"c": state}, projection, batch_tokens, notices.append, most_bytes)
        arrays = extractor.extract(rows, keys, FORMS).arrays
        assert not notices
        for form in FORMS:
            found = torch.from_numpy(arrays[f"c/{form}/rows"]).double()
            cosines = torch.cosine_similarity(found, expected[form])
            assert cosines.min() > 1 - 1e-6, f"{form}, pieces of {most_bytes}: {cosines.min():.8f}"
            np.testing.assert_allclose(arrays[f"c/{form}/norm"], expected[form].norm(dim=1), rtol=1e-4)


def test_factored_moments_are_what_adafactor_divides_by() -> None:
    layer = torch.nn.Linear(9, 5)
    parameters = dict(layer.named_parameters())
    optimizer = Adafactor(parameters.values(), lr=0.0, scale_parameter=False, relative_step=False)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for parameter in parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator) * 1e-3
        optimizer.step()
    moments = moments_of(optimizer, parameters, (0.8, 0.95))
    assert (moments.m, moments.step, moments.beta1, moments.beta2, moments.epsilon) == ({}, 3, 0.8, 0.95, 1e-8)
    state = optimizer.state[layer.weight]
    root = Adafactor._approx_sq_grad(state["exp_avg_sq_row"], state["exp_avg_sq_col"])
    torch.testing.assert_close(moments.second("weight", 0, 45), root.pow(-2).flatten(), rtol=1e-5, atol=0)
    assert torch.equal(moments.second("bias", 1, 4), optimizer.state[layer.bias]["exp_avg_sq"][1:4])
    for start, stop in ((0, 9), (9, 27), (3, 40), (44, 45)):
        part = moments.second("weight", start, stop)
        torch.testing.assert_close(part, moments.second("weight", 0, 45)[start:stop], rtol=0, atol=0)


def test_two_layers_that_share_a_weight_are_taken_by_autograd() -> None:
    model, rows = all_of("llama"), random_rows((5, 9))
    layers = model.model.layers
    layers[1].self_attn.q_proj.weight = layers[0].self_attn.q_proj.weight
    moments, parameters = moments_for(model, True), trainable_parameters(model)
    projection = Projection(ProjectionConfig(dim=256), {name: p.numel() for name, p in parameters.items()})
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)
    notices: list[str] = []
    extractor = Extractor(model, {"c": state}, projection, 64, notices.append)
    norm = extractor.extract(rows, np.zeros((2, 16), np.uint8), ["sgd"]).arrays["c/sgd/norm"]
    assert "q_proj too, another layer" in notices[0]
    assert (norm > 0).all()


def test_a_model_without_weights_has_the_layers_of_the_one_with_them() -> None:
    for name in ("llama", "llama-tied", "gpt2", "opt", "gemma2"):
        model = tiny_model(name)
        with torch.device("meta"):
            empty = type(model)._from_config(model.config)
        assert all_linear(empty) == all_linear(model), name


def test_a_checkpoint_saved_in_float16_has_them_too(tmp_path: Path) -> None:
    tiny_model("llama").half().save_pretrained(tmp_path)
    folder = find_model(ModelConfig(name=str(tmp_path), dtype="float32"))
    empty = folder.without_weights()
    assert next(empty.parameters()).dtype == torch.float16
    assert all_linear(empty) == all_linear(folder.load(torch.device("cpu")))
    with pytest.raises(ModelError, match=r"found torch\.float16 of model\.layers"):
        all_linear(tiny_model("llama").half())


def test_quantised_weights_are_refused_by_name() -> None:
    model = tiny_model("llama")
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match=r"found torch\.int8 of model\.layers\.0\.mlp\.up_proj"):
        all_linear(model)


def test_training_weights_become_float32_and_others_stay() -> None:
    model = tiny_model("llama").bfloat16()
    make_all_trainable(model, to_train=True)
    kinds = {(p.requires_grad, p.dtype) for p in model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}


def test_a_model_in_bfloat16_has_the_float32_model_s_gradients_to_its_own_rounding() -> None:
    model, rows = all_of("llama"), random_rows()
    exact, found = collected(model, rows), collected(deepcopy(model).bfloat16(), rows)
    assert example_losses(model, pad_batch(rows)).shape == (len(rows),)
    for b in range(len(rows)):
        flat = [torch.cat([of[name][b] for name in exact if name != "loss"]) for of in (exact, found)]
        assert torch.cosine_similarity(flat[0], flat[1], dim=0) > 0.98
