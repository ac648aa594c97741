"""Passes of a model on a CUDA device: extraction, hidden states, and the whole job."""

from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import VOCABULARY, tiny_adapted_model

import g2is
import g2is.demo
from g2is.config import GammaForm, ProjectionConfig
from g2is.demo.skills import write_pool, write_target
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.projection import Projection
from g2is.model.batches import Row
from g2is.model.parameters import trainable_parameters
from g2is.representations.states import inner_model, weighted_states
from g2is.store.moments import Moments

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")

FORMS: tuple[GammaForm, ...] = ("momentum-free", "less", "sgd")
MODEL = Path(g2is.demo.__file__).parent / "model"


def random_rows(num_rows: int) -> list[Row]:
    rng = np.random.default_rng(3)
    lengths = rng.integers(6, 30, num_rows)
    return [(rng.integers(1, VOCABULARY, n).astype(np.int32), np.arange(n) >= n // 2) for n in lengths]


def make_extractor(device: str, dtype: torch.dtype, batch_tokens: int, notices: list[str]) -> Extractor:
    """An extractor of a tiny Llama with its frozen weights in `dtype`, and of moments drawn with one seed."""
    model = tiny_adapted_model("llama", "attention").to(device)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    parameters, generator = trainable_parameters(model), torch.Generator().manual_seed(0)
    moments = Moments(
        {name: (torch.randn(p.shape, generator=generator) * 1e-3).to(device) for name, p in parameters.items()},
        {name: (torch.rand(p.shape, generator=generator) * 1e-5).to(device) for name, p in parameters.items()},
        step=10,
    )
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)
    sizes = {name: p.numel() for name, p in parameters.items()}
    projection = Projection(ProjectionConfig(dim=512), sizes, torch.device(device))
    return Extractor(model, {"c": state}, projection, batch_tokens, notices.append)


def extract(extractor: Extractor, rows: list[Row]) -> dict[str, np.ndarray]:
    keys = np.zeros((len(rows), 16), np.uint8)
    return {name: array.astype(np.float64) for name, array in extractor.extract(rows, keys, FORMS).arrays.items()}


def lowest_cosine(one: dict[str, np.ndarray], other: dict[str, np.ndarray], form: str) -> float:
    """Of each stored row with itself; float16 has rounded both."""
    first, second = one[f"c/{form}/rows"], other[f"c/{form}/rows"]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float((np.einsum("rk,rk->r", first, second) / lengths).min())


@pytest.mark.parametrize(
    ("dtype", "cosine", "relative"), [(torch.float32, 1 - 1e-5, 1e-3), (torch.bfloat16, 0.98, 0.1)]
)
def test_rows_are_those_of_the_cpu_in_float32(dtype: torch.dtype, cosine: float, relative: float) -> None:
    rows, notices = random_rows(40), list[str]()
    found = extract(make_extractor("cuda", dtype, 200, notices), rows)
    expected = extract(make_extractor("cpu", torch.float32, 200, notices), rows)
    assert not notices, "batched, and with Γ compiled"
    for form in FORMS:
        assert lowest_cosine(found, expected, form) > cosine, form
        np.testing.assert_allclose(found[f"c/{form}/norm"], expected[f"c/{form}/norm"], rtol=relative)
    np.testing.assert_allclose(found["c/loss"], expected["c/loss"], rtol=relative)


def test_a_batch_that_does_not_fit_on_the_device_is_cut_and_its_rows_are_the_same() -> None:
    rows, notices = random_rows(4_000), list[str]()
    expected = extract(make_extractor("cuda", torch.float32, 2_000, notices), rows)
    assert not notices
    at_once = make_extractor("cuda", torch.float32, 1_000_000, notices)
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 200 * 2**20  # all rows at once need some 900 MiB
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = extract(at_once, rows)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert at_once.splits
    assert all("did not fit in memory" in notice for notice in notices)
    assert all(lowest_cosine(found, expected, form) > 1 - 1e-5 for form in FORMS)


def test_hidden_states_are_those_of_the_cpu() -> None:
    rows = random_rows(40)
    model = tiny_adapted_model("llama", "attention").unload()
    expected = weighted_states(inner_model(model), rows, 200)
    found = weighted_states(inner_model(model.to("cuda")), rows, 200)
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() < 1e-4


def test_a_whole_select_in_bfloat16_makes_nothing_anew_when_it_is_given_again(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=150)
    write_target(tmp_path / "target.jsonl", num_rows=8)

    def select() -> list[str]:
        selection = g2is.select(
            pool=tmp_path / "pool.jsonl",
            target=tmp_path / "target.jsonl",
            model=MODEL,
            out=tmp_path / "run",
            budget=15,
            warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
            gradients={"projection": {"dim": 512}},
            execution={"shard_rows": 64, "device": "cuda"},
        )
        return list(selection.ids)

    def stored() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "run/store").rglob("markers/*.json"))}

    ids, shards = select(), stored()
    assert len(ids) == 15
    assert len(shards) == 4, "150 rows of the pool in shards of 64, and the target's"
    assert select() == ids
    assert stored() == shards
