"""Selecting on a CUDA device: its screen is as exact as it says, and selectors take the rows they take in memory."""

import numpy as np
import pytest
import torch

from g2is.config import SelectionConfig
from g2is.selection import coarse, coarse_rows
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")

K = 3000  # more than the columns of one sum


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_cosines_are_within_the_margin_of_the_screen(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse, "_DEVICE_VALUES", 64 * K)  # several blocks, as in a pool that is worth a device
    monkeypatch.setattr(coarse_rows, "_COPIED_VALUES", 100 * K)
    rng = np.random.default_rng(0)
    pool = torch.from_numpy(rng.normal(size=(300, K)) * np.exp(rng.normal(size=(300, 1)))).to(dtype)
    pool[7] = 0
    rows = UnitRows(pool, device="cuda")
    directions = rng.normal(size=(3, K))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    exact = rows.over_units(np.arange(300), lambda units: units @ directions.T).T
    some = np.array([3, 7, 298, 20, 20])
    assert np.abs(rows.cosines(directions) - exact).max() <= rows.margin
    assert np.abs(rows.cosines(directions, some) - exact[:, some]).max() <= rows.margin
    assert np.abs(rows.cosines(directions[1]) - exact[1]).max() <= rows.margin
    assert np.abs(rows.rough_units(some) - rows.over_units(some, lambda units: units)).max() <= rows.margin


def test_the_screen_keeps_full_precision_where_products_are_set_to_less() -> None:
    # TF32 would round every coordinate of row and direction up, and every cosine by more than the margin.
    rows = UnitRows(np.full((40, K), 1 + 2.0**-11 + 2.0**-13, np.float32), device="cuda")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        cosines = rows.cosines(np.full((4, K), K**-0.5))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.abs(cosines - 1).max() <= rows.margin < 2e-4


@pytest.mark.parametrize(
    "method", ["design", "match", "less", "less-rr", "interaction", "spice", "bids", "tsds", "knn-kde", "uot"]
)
def test_a_selector_takes_the_rows_that_it_takes_in_memory(method: str) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 256))
    pool = (centres[rng.integers(12, size=3_000)] + rng.normal(size=(3_000, 256))).astype(np.float16)
    target = centres[:6] + 0.3 * rng.normal(size=(6, 256))
    taken = []
    for rows in (UnitRows(pool, device="cuda"), UnitRows(pool, quantise=False)):
        targets = {"target": TargetRows(90, rows=target)}
        selected = apply_selector(len(pool), rows, targets, SelectionConfig(method=method), Limits())
        taken.append((rows.most_ahead, [step.row for step in selected.record.steps]))
    (on_device, device_rows), (in_memory, memory_rows) = taken
    assert on_device == 0 < in_memory, "the first is screened on the device, the second is not"
    assert device_rows == memory_rows
    assert len(device_rows) == 90
