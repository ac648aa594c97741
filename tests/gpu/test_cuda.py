"""The same numbers on a CUDA device as on the CPU."""

from typing import get_args

import numpy as np
import pytest
import torch
from architectures import tiny_adapted_model

from g2is.config import GammaForm, ProjectionConfig, SelectionConfig
from g2is.gradients.gamma import Gamma, gamma
from g2is.gradients.per_example import per_example_gradients
from g2is.gradients.pieces import Piece
from g2is.gradients.projection import Projection
from g2is.model.batches import pad_batch
from g2is.selection.core import core_knowledge
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk
from g2is.store.moments import Moments

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


@pytest.mark.parametrize("kind", ["sparse", "rademacher"])
def test_signs_and_places_do_not_depend_on_the_device(kind: str) -> None:
    config = ProjectionConfig(kind=kind, dim=64)
    on = {}
    for device in ("cpu", "cuda"):
        rows = torch.zeros(300, 64, device=device)
        Projection(config, {"p": 300}, device).add_(rows, "p", torch.eye(300, device=device))
        on[device] = rows.cpu()
    torch.testing.assert_close(on["cuda"], on["cpu"], rtol=1e-6, atol=1e-6)


def test_many_runs_at_once_come_to_what_the_cpu_adds_one_by_one() -> None:
    config, size, start = ProjectionConfig(dim=64), 64 * 1100, 30
    gradient = torch.randint(-99, 99, (3, size), generator=torch.Generator().manual_seed(0)).float()  # sums are exact
    on = {}
    for device in ("cpu", "cuda"):
        rows = torch.zeros(3, 64, device=device)
        Projection(config, {"p": start + size}, device).add_(rows, "p", gradient.clone().to(device), start)
        on[device] = rows.cpu()
    assert torch.equal(on["cuda"], on["cpu"])


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_per_example_gradients_agree_with_the_cpu(name: str) -> None:
    rng = np.random.default_rng(0)
    rows = [(rng.integers(1, 97, n).astype(np.int32), np.arange(n) >= n // 2) for n in (5, 17, 30)]
    on: dict[str, dict[str, torch.Tensor]] = {}
    for device in ("cpu", "cuda"):
        model = tiny_adapted_model(name, "attention").to(device)
        found: dict[str, torch.Tensor] = {}

        def sink(name: str, gradient: torch.Tensor, _: Piece, found: dict[str, torch.Tensor] = found) -> None:
            found[name] = gradient.cpu()

        per_example_gradients(model, pad_batch(rows, device), sink)
        on[device] = found
    for parameter, gradient in on["cpu"].items():
        cosine = torch.cosine_similarity(on["cuda"][parameter].double(), gradient.double())
        assert cosine.min() > 1 - 1e-5, parameter


@pytest.mark.parametrize("method", ["g2is", "official"])
def test_a_walk_screened_on_the_device_takes_the_rows_of_one_screened_in_memory(method: str) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 256))
    pool = (centres[rng.integers(12, size=3_000)] + rng.normal(size=(3_000, 256))).astype(np.float16)
    settings = SelectionConfig(method=method)
    core = core_knowledge(centres[:6] + 0.3 * rng.normal(size=(6, 256)), settings)
    on_device, in_memory = UnitRows(pool), UnitRows(pool, quantise=False)
    assert on_device.most_ahead == 0 < in_memory.most_ahead
    assert walk(on_device, core, 90, settings).rows.tolist() == walk(in_memory, core, 90, settings).rows.tolist()


def test_compiled_gamma_agrees_with_the_cpu_and_is_exactly_zero_at_zero() -> None:
    notices: list[str] = []
    generator = torch.Generator().manual_seed(0)
    m, v = torch.randn(300, generator=generator) * 1e-2, torch.rand(300, generator=generator) * 1e-4 + 1e-6
    on_device, on_cpu = (Moments({"p": m.to(to)}, {"p": v.to(to)}, step=5) for to in ("cuda", "cpu"))
    compiled = Gamma(True, notices.append)
    for form in get_args(GammaForm):
        torch._dynamo.reset()  # it stops to compile a function that it has seen in too many ways
        for num_examples in (1, 4, 9):
            g = torch.randn(num_examples, 300, generator=generator) * 1e-2
            made = compiled(form, g.cuda(), "p", on_device).cpu()
            torch.testing.assert_close(made, gamma(form, g, "p", on_cpu), rtol=1e-5, atol=1e-6)
    zero = torch.zeros(4, 300, device="cuda")
    assert torch.equal(compiled("momentum-free", zero, "p", on_device), zero)
    assert not notices
