"""Products of bfloat16 by float32's are those of float64, rounded, and torch is left as it was."""

import pytest
import torch

from common.rounded_products import rounded_products


def drawn(*shape: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_products_and_their_gradients_are_those_of_float64_but_for_one_rounding(dtype: torch.dtype) -> None:
    rows, weight, bias = (drawn(*of, dtype=dtype, seed=7) for of in ((2, 9, 64), (33, 64), (33,)))
    for of in (rows, weight, bias):
        of.requires_grad_()
    exact = [of.detach().double().requires_grad_() for of in (rows, weight, bias)]
    with rounded_products():
        found = torch.nn.functional.linear(rows, weight, bias)
        scores = torch.bmm(found, found.transpose(1, 2))
        gradients = torch.autograd.grad(found.sum() + 0 * scores.sum(), (rows, weight, bias))
    assert {of.dtype for of in (found, scores, *gradients)} == {dtype}
    of_exact = torch.nn.functional.linear(*exact)
    tolerance = {torch.bfloat16: 2**-7, torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(found.double(), of_exact, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        scores.double(), torch.bmm(found.double(), found.double().transpose(1, 2)), rtol=tolerance, atol=tolerance
    )
    for ours, theirs in zip(gradients, torch.autograd.grad(of_exact.sum(), exact), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=2 * tolerance, atol=2 * tolerance)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gradients_through_attention_are_those_of_float64_but_for_roundings(
    dtype: torch.dtype, is_causal: bool
) -> None:
    inputs = [drawn(2, 3, 40, 16, dtype=dtype, seed=seed) for seed in range(4)]
    mask = None if is_causal else drawn(2, 1, 40, 40, dtype=dtype, seed=5)

    def gradients(of: torch.dtype) -> tuple[torch.Tensor, ...]:
        weights, query, key, value = (one.to(of, copy=True).requires_grad_() for one in inputs)
        given = None if mask is None else mask.to(of)
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, given, is_causal=is_causal)
        return torch.autograd.grad((out * weights).sum(), (query, key, value))

    with rounded_products():
        found = gradients(dtype)
    tolerance = {torch.bfloat16: 2**-6, torch.float32: 1e-5}[dtype]
    for ours, exact in zip(found, gradients(torch.float64), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["mm", "bmm", "addmm", "_scaled_dot_product_flash_attention_for_cpu_backward"])
def test_torch_multiplies_as_before_when_it_ends(name: str) -> None:
    rows, weight = drawn(4, 64, dtype=torch.bfloat16, seed=1), drawn(64, 8, dtype=torch.bfloat16, seed=2)
    before = torch._C._dispatch_dump(f"aten::{name}")
    with rounded_products():
        assert torch._C._dispatch_dump(f"aten::{name}") != before
        rounded = rows @ weight
    assert torch._C._dispatch_dump(f"aten::{name}") == before
    torch.testing.assert_close(rows @ weight, rounded)
