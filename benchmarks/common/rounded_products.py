"""Products of bfloat16 matrices where a processor has no instructions for them: float32's, rounded once at the end.

Those that have the instructions do the same: they multiply exactly, add up in float32, and round. torch's own way where
there are none is ten to forty times slower (docs/log.md), so that cells of bfloat16 would take days. So is the way back
through attention.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from g2is.machine.products import times_slower
from g2is.progress.terminal import say

_SLOW = 3.0
_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu_backward"


@contextmanager
def fast_bfloat16() -> Iterator[None]:
    """Make products of bfloat16 on a CPU as fast as those of float32, if they are slow there, and say so."""
    times = times_slower(torch.bfloat16)
    if times < _SLOW:
        yield
        return
    say([f"bfloat16 is {times:.0f} times slower than float32 on this processor: its products are float32's, rounded"])
    with rounded_products():
        yield


@contextmanager
def rounded_products() -> Iterator[None]:
    """Take float32's products in place of bfloat16's. Other types are multiplied as before."""
    with torch.library._scoped_library("aten", "IMPL") as library:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Warning only once for all operators")
            kernel = torch.library.get_kernel(f"aten::{_ATTENTION}", "CPU")
            library.impl(_ATTENTION, partial(_attention_backward, kernel), "CPU", with_keyset=True)
            for name, product in (("mm", _mm), ("bmm", _bmm), ("addmm", _addmm)):
                library.impl(name, product, "CPU")
        yield


def _mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    out = torch.empty(a.shape[0], b.shape[1], dtype=_summed_in(a))
    return torch.mm(*_widened(a, b), out=out).to(a.dtype)


def _bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    out = torch.empty(*a.shape[:2], b.shape[2], dtype=_summed_in(a))
    return torch.bmm(*_widened(a, b), out=out).to(a.dtype)


def _addmm(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, beta: float = 1, alpha: float = 1) -> torch.Tensor:
    out = torch.empty(a.shape[0], b.shape[1], dtype=_summed_in(a))
    return torch.addmm(*_widened(c, a, b), beta=beta, alpha=alpha, out=out).to(a.dtype)


def _attention_backward(
    kernel: Any,
    keys: torch.DispatchKeySet,
    grad: torch.Tensor,
    *given: torch.Tensor | float | bool,
    attn_mask: torch.Tensor | None = None,
    scale: float | None = None,
) -> tuple[torch.Tensor, ...]:
    """By torch's own `kernel`, which is slow in bfloat16 on its way back alone."""
    wide = [_widened(of)[0] if isinstance(of, torch.Tensor) else of for of in (grad, *given, attn_mask)]
    found = kernel.call_boxed(keys, *wide[:-1], attn_mask=wide[-1], scale=scale)
    return tuple(of.to(grad.dtype) for of in found)


def _summed_in(a: torch.Tensor) -> torch.dtype:
    return torch.float32 if a.dtype == torch.bfloat16 else a.dtype


def _widened(*matrices: torch.Tensor) -> list[torch.Tensor]:
    """`out=` is another operator, whose kernel is torch's own."""
    return [of.float() if of.dtype == torch.bfloat16 else of for of in matrices]
