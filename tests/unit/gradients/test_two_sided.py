"""The two-sided projection against its matrices written out, and what it promises of inner products."""

import numpy as np
import pytest
import torch
from architectures import tiny_model
from test_per_example_gradients import gradients_by_plain_autograd, random_rows

from g2is.config import ProjectionConfig
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.two_sided import TwoSided, two_sided_dim
from g2is.model.all_linear import make_all_trainable
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Moments

SHAPES = {"a.weight": (12, 20), "a.bias": (12,), "b.weight": (3, 40)}
CONFIG = ProjectionConfig(kind="two-sided", dim=72)  # sides of 6


def test_rows_are_the_gradient_between_two_sign_matrices() -> None:
    projection = TwoSided(CONFIG, SHAPES)
    assert projection.dim == two_sided_dim(CONFIG, SHAPES) == 6 * 6 + 6 + 3 * 6
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(2, 9, size, generator=generator) for size in (12, 20))
    whole = torch.bmm(left.transpose(1, 2), right)
    by_product, by_gradient, by_rows = (torch.zeros(2, projection.dim) for _ in range(3))
    projection.add_product_(by_product, "a.weight", left, right)
    projection.add_(by_gradient, "a.weight", whole.flatten(1).clone())
    for first in (0, 5, 11):
        last = {0: 5, 5: 11, 11: 12}[first]
        projection.add_(by_rows, "a.weight", whole[:, first:last].flatten(1).clone(), first * 20)
    torch.testing.assert_close(by_product, by_gradient, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(by_rows, by_gradient, rtol=1e-5, atol=1e-5)
    a, b = projection._left["a.weight"], projection._right["a.weight"]
    assert (a.abs() - 6**-0.5).abs().max() < 1e-7
    torch.testing.assert_close(by_gradient[:, 6 : 6 + 36].unflatten(1, (6, 6)), a.T @ whole @ b, rtol=1e-5, atol=1e-5)
    assert not by_gradient[:, :6].any()  # the bias's
    assert not by_gradient[:, 42:].any()  # the other weight's


def test_a_side_no_longer_than_asked_for_is_not_projected() -> None:
    projection = TwoSided(ProjectionConfig(kind="two-sided", dim=10_000), SHAPES)
    assert projection.dim == 12 * 20 + 12 + 3 * 40
    g = torch.randn(1, 240, generator=torch.Generator().manual_seed(0))
    rows = torch.zeros(1, projection.dim)
    projection.add_(rows, "a.weight", g.clone())
    torch.testing.assert_close(rows[:, 12 : 12 + 240], g)


def test_inner_products_are_unbiased() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 240, generator=generator, dtype=torch.float64)
    y = y + 0.5 * x
    estimates = np.empty(800)
    for seed in range(len(estimates)):
        projection = TwoSided(CONFIG.model_copy(update={"seed": seed}), SHAPES)
        rows = torch.zeros(2, projection.dim)
        projection.add_(rows, "a.weight", torch.stack([x, y]).float())
        estimates[seed] = (rows[0] @ rows[1]).item()
    assert abs(estimates.mean() - (x @ y).item()) < 4 * estimates.std() / len(estimates) ** 0.5


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt"])
def test_extracted_rows_are_those_of_autograds_gradients(name: str) -> None:
    model, rows = make_all_trainable(tiny_model(name)), random_rows()
    parameters = trainable_parameters(model)
    projection = TwoSided(
        ProjectionConfig(kind="two-sided", dim=600), {name: tuple(p.shape) for name, p in parameters.items()}
    )
    expected = torch.zeros(len(rows), projection.dim)
    for b, row in enumerate(rows):
        for parameter, gradient in gradients_by_plain_autograd(model, row)[0].items():
            projection.add_(expected[b : b + 1], parameter, gradient[None].clone())
    state = AdapterState({name: p.detach() for name, p in parameters.items()}, Moments({}, dict(parameters), 1))
    for batch_tokens in (10_000, 1):
        notices: list[str] = []
        extractor = Extractor(model, {"c": state}, projection, batch_tokens, notices.append)
        arrays = extractor.extract(rows, np.zeros((len(rows), 16), np.uint8), ["sgd"]).arrays
        assert not notices
        found = torch.from_numpy(arrays["c/sgd/rows"]).float()
        assert torch.cosine_similarity(found, expected).min() > 1 - 1e-6
        np.testing.assert_allclose(arrays["c/sgd/norm"], expected.norm(dim=1), rtol=1e-4)
