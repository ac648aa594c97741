"""Numbers end to end: models whose values overflow, and one selection computed in other ways."""

from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import tiny_adapted_model

from faults.invariance import BASE, WAYS, compared, selections, write_rows
from g2is.config import ProjectionConfig
from g2is.errors import ModelError
from g2is.gradients.extract import AdapterState, Extractor, _check_moments
from g2is.gradients.projection import Projection
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Moments
from g2is.store.rows import has_direction, unit_rows

EXACT = [way for way in WAYS if way.name in ("again", "shards of 7 rows", "one shard")]


@pytest.mark.long
@pytest.mark.slow
def test_the_same_selection_again_and_whatever_the_shards(tmp_path: Path) -> None:
    write_rows(tmp_path, seed=0)
    methods = ("design", "rds+", "bm25")
    usual = selections(tmp_path, BASE, methods)
    for way in EXACT[1:2]:
        found = compared(usual, selections(tmp_path, way, methods))
        assert found == {"tried": 3, "same": 3, "other": 0}, found


def test_another_selection_is_told_with_its_overlap_and_how_far_scores_are_apart() -> None:
    def of(rows: list[int], score: float) -> dict[str, object]:
        return {"design": {"rows": rows, "scores": {"similarity.t": [score, None]}}}

    found = compared(of([1, 2, 3], 0.5), of([1, 3, 4], 0.75))
    assert (found["same"], found["other"]) == (0, 1)
    assert found["note"].startswith("design: 2 of 3 rows, scores up to 2.5e-01 apart")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("factor", [1.0, 1e4, 1e30])
def test_rows_of_a_model_whose_values_overflow_are_set_aside_or_unit(dtype: torch.dtype, factor: float) -> None:
    model = tiny_adapted_model("llama", "attention")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lm_head" in name and not parameter.requires_grad:
                parameter.mul_(factor)
    model = model.to(dtype)
    parameters = trainable_parameters(model)
    moments = Moments(
        {name: torch.full(p.shape, 1e-3) for name, p in parameters.items()},
        {name: torch.full(p.shape, 1e-6) for name, p in parameters.items()},
        step=10,
    )
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)
    projection = Projection(ProjectionConfig(dim=256), {name: p.numel() for name, p in parameters.items()})
    draw = np.random.default_rng(0)
    rows = [(draw.integers(1, 97, n).astype(np.int32), np.arange(n) >= n // 2) for n in (6, 9, 14, 20)]
    notices: list[str] = []
    shard = Extractor(model, {"c": state}, projection, 64, notices.append).extract(
        rows, np.zeros((4, 16), np.uint8), ["momentum-free", "less"]
    )
    for form in ("momentum-free", "less"):
        found, norm = shard.arrays[f"c/{form}/rows"].astype(np.float64), shard.arrays[f"c/{form}/norm"]
        usable = has_direction(norm)
        assert np.isfinite(found).all()
        assert np.allclose(np.linalg.norm(found[usable], axis=1), 1, atol=2e-3)
        assert not found[~usable].any()
        if factor == 1.0:
            assert usable.all()


@pytest.mark.parametrize("size", [1e-37, 1e-30, 1e-20, 1.0, 1e18, 1e25, 1e36])
def test_a_row_of_any_length_that_float32_holds_is_stored_as_its_direction(size: float) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 64))
    found = unit_rows((rows * size).astype(np.float32))
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(found.rows.astype(np.float64), expected, atol=2e-3)
    assert has_direction(found.norm).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_moments_that_are_no_moments_are_refused(value: float, tmp_path: Path) -> None:
    v = torch.ones(4)
    v[2] = value
    with pytest.raises(ModelError, match="expected finite moments of Adam, and no second one below 0"):
        _check_moments(Moments({"w": torch.ones(4)}, {"w": v}, step=1), tmp_path / "moments.safetensors")
    _check_moments(Moments({"w": torch.ones(4)}, {"w": torch.zeros(4)}, step=1), tmp_path / "moments.safetensors")
