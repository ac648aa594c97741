import pytest
import torch

from g2is.config import GammaForm
from g2is.gradients.gamma import gamma
from g2is.store.moments import Moments

NAME, SHAPE = "layer.lora_A.weight", (3, 7)


def random_moments(step: int = 5) -> Moments:
    generator = torch.Generator().manual_seed(1)
    m = torch.randn(SHAPE, generator=generator) * 1e-2
    v = torch.rand(SHAPE, generator=generator) * 1e-4
    return Moments({NAME: m}, {NAME: v}, step)


def random_gradients(num_examples: int = 4) -> torch.Tensor:
    return torch.randn(num_examples, 21, generator=torch.Generator().manual_seed(2)) * 1e-2


def test_adam_is_the_step_that_torch_takes() -> None:
    moments, gradients = random_moments(), random_gradients()
    rows = gamma("adam", gradients, NAME, moments)
    for gradient, row in zip(gradients, rows, strict=True):
        parameter = torch.nn.Parameter(torch.zeros(SHAPE, dtype=torch.float64))
        optimizer = torch.optim.Adam([parameter], lr=1.0, betas=(0.9, 0.999), eps=1e-8)
        optimizer.state[parameter] = {
            "step": torch.tensor(float(moments.step)),
            "exp_avg": moments.m[NAME].double().clone(),
            "exp_avg_sq": moments.v[NAME].double().clone(),
        }
        parameter.grad = gradient.double().reshape(SHAPE)
        optimizer.step()
        torch.testing.assert_close(row, -parameter.detach().flatten().float(), rtol=1e-5, atol=1e-7)


def test_less_keeps_epsilon_inside_the_root_and_corrects_no_bias() -> None:
    moments, g = random_moments(), random_gradients().double()
    m, v = (moments.m[NAME].double().flatten(), moments.v[NAME].double().flatten())
    expected = (0.9 * m + 0.1 * g) / (0.999 * v + 0.001 * g**2 + 1e-8).sqrt()
    torch.testing.assert_close(gamma("less", g.float(), NAME, moments).double(), expected, rtol=1e-5, atol=1e-6)


def test_momentum_free_is_less_without_what_a_zero_gradient_would_give() -> None:
    moments, g = random_moments(), random_gradients()
    at_zero = gamma("less", torch.zeros_like(g), NAME, moments)
    expected = gamma("less", g, NAME, moments) - at_zero
    torch.testing.assert_close(gamma("momentum-free", g, NAME, moments), expected, rtol=1e-4, atol=1e-6)
    assert at_zero.abs().max() > 0.1
    assert torch.equal(gamma("momentum-free", torch.zeros_like(g), NAME, moments), torch.zeros_like(g))


def test_normalized_divides_by_the_second_moment_alone() -> None:
    moments, g = random_moments(), random_gradients()
    expected = g / (moments.v[NAME].flatten().sqrt() + 1e-8)
    torch.testing.assert_close(gamma("normalized", g, NAME, moments), expected)


@pytest.mark.parametrize("form", ["less", "adam", "sgd", "normalized", "momentum-free"])
def test_no_form_touches_the_gradient_it_is_given(form: GammaForm) -> None:
    moments, g = random_moments(), random_gradients()
    before = g.clone()
    gamma(form, g, NAME, moments).mul_(0)
    assert torch.equal(g, before)
