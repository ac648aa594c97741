import os
import shutil
from pathlib import Path
from typing import get_args

import pytest
import torch

from g2is.config import GammaForm
from g2is.gradients.gamma import Gamma, gamma
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


@pytest.mark.parametrize("form", get_args(GammaForm))
def test_no_form_touches_the_gradient_it_is_given(form: GammaForm) -> None:
    moments, g = random_moments(), random_gradients()
    before = g.clone()
    gamma(form, g, NAME, moments).mul_(0)
    assert torch.equal(g, before)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("form", get_args(GammaForm))
def test_compiled_code_makes_the_same_of_batches_of_any_size_and_is_exactly_zero_at_zero(form: GammaForm) -> None:
    notices: list[str] = []
    moments, compiled = random_moments(), Gamma(True, notices.append)
    torch._dynamo.reset()  # it stops to compile a function that it has seen in too many ways
    for num_examples in (1, 4, 9):
        g = random_gradients(num_examples)
        expected = gamma(form, g, NAME, moments)
        torch.testing.assert_close(compiled(form, g, NAME, moments), expected, rtol=1e-5, atol=1e-6)
    if form == "momentum-free":  # of a row that teaches nothing
        zero = torch.zeros(4, 21)
        assert torch.equal(compiled(form, zero, NAME, moments), zero)
    assert not notices


@pytest.mark.slow
def test_where_nothing_can_be_compiled_it_says_so_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing compiled earlier
    notices: list[str] = []
    moments, g = random_moments(), random_gradients()
    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        adjust = Gamma(True, notices.append)
        for _ in range(2):
            assert torch.equal(adjust("normalized", g, NAME, moments), gamma("normalized", g, NAME, moments))
    assert len(notices) == 1
    assert "not compiled" in notices[0]


@pytest.mark.parametrize("form", ["less", "adam", "momentum-free"])
@pytest.mark.parametrize("size", [1e17, 3e18, 1e20, 1e30, 3e38])
def test_a_gradient_whose_square_overflows_gives_what_float64_does(form: GammaForm, size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    g = torch.randn(3, 8, generator=generator)
    g[0] *= size / g[0].abs().max()
    m, v = torch.randn(8, generator=generator) * 1e-2, torch.rand(8, generator=generator) * 1e-4
    found = gamma(form, g, "w", Moments({"w": m}, {"w": v}, step=4))
    expected = gamma(form, g.double(), "w", Moments({"w": m.double()}, {"w": v.double()}, step=4))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["less", "adam", "momentum-free", "normalized", "sgd"])
def test_an_infinite_gradient_stays_without_a_direction(form: GammaForm) -> None:
    g = torch.tensor([[1.0, float("inf")], [float("nan"), 1.0], [1.0, 2.0]])
    found = gamma(form, g, "w", Moments({"w": torch.ones(2)}, {"w": torch.ones(2)}, step=4))
    assert found.isfinite().all(1).tolist() == [False, False, True]


@pytest.mark.parametrize("second", [0.0, 1e-45, 1e-38, 1e30, 3e38])
def test_second_moments_at_the_ends_of_float32_give_what_float64_does(second: float) -> None:
    g = torch.tensor([[1e-30, -1e-4, 3.0, 0.0]])
    m, v = torch.full((4,), 1e-3), torch.full((4,), second)
    for form in ("less", "adam", "momentum-free"):
        found = gamma(form, g, "w", Moments({"w": m}, {"w": v}, step=9))
        expected = gamma(form, g.double(), "w", Moments({"w": m.double()}, {"w": v.double()}, step=9))
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-9)
