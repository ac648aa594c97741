"""Every screen keeps its own promise: the stored matrix, the 8-bit copy, the GPU's code on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from g2is.errors import MatrixError
from g2is.machine import memory
from g2is.selection.coarse import InMemory, OnDevice, rounding
from g2is.selection.coarse_rows import Quantised
from g2is.selection.similarity import UnitRows

HOW: dict[str, dict[str, Any]] = {"stored": {}, "8-bit": {"quantise": True}, "device": {"device": "cpu"}}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def unit_vectors(rng: np.random.Generator, k: int, count: int) -> np.ndarray:
    vectors = rng.normal(size=(count, k))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 100, 5000])
def test_cosines_are_within_the_margin_for_all_rows_or_some_and_one_direction_or_several(
    how: str, dtype: torch.dtype, k: int
) -> None:
    rng = np.random.default_rng(k)
    pool = torch.from_numpy(rng.normal(size=(90, k)) * np.exp(rng.normal(size=(90, 1)))).to(dtype)
    pool[7] = 0
    rows = UnitRows(pool, **HOW[how])
    directions = unit_vectors(rng, k, 3)
    exact = rows.over_units(np.arange(90), lambda units: units @ directions.T).T
    some = np.array([3, 7, 88, 20, 20])
    assert np.abs(rows.cosines(directions) - exact).max() <= rows.margin
    assert np.abs(rows.cosines(directions, some) - exact[:, some]).max() <= rows.margin
    assert np.abs(rows.cosines(directions[1]) - exact[1]).max() <= rows.margin
    assert np.abs(rows.cosines(directions[1], some) - exact[1, some]).max() <= rows.margin
    assert rows.cosines(directions, some[:0]).shape == (3, 0)
    assert np.abs(rows.rough_units(some) - rows.over_units(some, lambda units: units)).max() <= rows.margin


@pytest.mark.parametrize("how", HOW)
def test_many_rows_out_of_order_are_answered_in_their_order(how: str) -> None:
    rng = np.random.default_rng(0)
    rows = UnitRows(rng.normal(size=(300, 20)), block_values=40, **HOW[how])
    direction = unit_vectors(rng, 20, 1)[0]
    for count in (40, 290):  # gathered, and picked from a pass over all
        some = rng.permutation(300)[:count]
        np.testing.assert_allclose(rows.cosines(direction, some), rows.exact_cosines(some, direction), atol=rows.margin)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("how", HOW)
def test_rows_of_extreme_length_are_screened_as_well_as_others(how: str, scale: float) -> None:
    rng = np.random.default_rng(1)
    rows = UnitRows((rng.normal(size=(9, 300)) * scale).astype(np.float32), **HOW[how])
    direction = unit_vectors(rng, 300, 1)[0]
    np.testing.assert_allclose(
        rows.cosines(direction), rows.exact_cosines(np.arange(9), direction), atol=rows.margin, rtol=0
    )


def test_the_8_bit_margin_holds_in_the_direction_of_the_residual_and_is_not_much_wider_than_needed() -> None:
    rng = np.random.default_rng(2)
    pool = rng.standard_t(3, size=(50, 1000))  # heavy tails: a few coordinates set the scales
    rows = UnitRows(pool, quantise=True)
    residuals = rows.over_units(np.arange(50), lambda units: units) - rows.rough_units(np.arange(50))
    lengths = np.linalg.norm(residuals, axis=1)
    worst = int(lengths.argmax())
    off = abs(
        rows.cosines(residuals[worst] / lengths[worst])[worst]
        - rows.exact_cosines(np.array([worst]), residuals[worst] / lengths[worst])[0]
    )
    assert 0.9 * lengths[worst] < off <= rows.margin < 0.03
    assert rows.margin < 1.01 * lengths[worst] + 2 * rounding(1000)


def test_rows_of_eight_bits_are_copied_without_a_residual() -> None:
    copy = Quantised(2, 3)
    copy.put(0, np.array([[0.6, -0.8, 0.0], [0.0, 0.0, 0.0]]))
    out = torch.empty(2, copy.width)
    copy.read(slice(0, 2), out)
    np.testing.assert_allclose(out[:, :3].numpy(), [[0.6, -0.8, 0.0], [0.0, 0.0, 0.0]], atol=0.8 / 254 + 1e-7)
    assert not out[:, 3:].any()


@pytest.mark.parametrize("how", HOW)
def test_broken_rows_are_refused_by_every_screen(how: str) -> None:
    pool = np.ones((5, 4))
    pool[3, 1] = np.nan
    with pytest.raises(MatrixError, match=r"NaN or Inf in 1 of 5 rows, first in row\(s\) \[3\]"):
        UnitRows(pool, **HOW[how])


@pytest.mark.parametrize(
    ("available", "is_copied"), [(10_000_000, False), (705_000, False), (703_000, True), (351_000, False)]
)
def test_a_memory_map_that_does_not_fit_into_memory_is_screened_in_eight_bits_if_that_fits(
    available: int, is_copied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = np.random.default_rng(0).normal(size=(500, 640)).astype(np.float16)  # 640,000 bytes
    np.save(tmp_path / "pool.npy", pool)
    monkeypatch.setattr(memory, "available_memory", lambda: available)
    rows = UnitRows(np.load(tmp_path / "pool.npy", mmap_mode="r"))
    assert isinstance(rows._screen, InMemory)
    assert isinstance(rows._screen._source, Quantised) is is_copied
    in_memory = UnitRows(pool)
    assert isinstance(in_memory._screen, InMemory)
    assert not isinstance(in_memory._screen._source, Quantised), "what is in memory fits there"
    assert rows.unit(7).tolist() == in_memory.unit(7).tolist()


def test_a_device_that_is_named_holds_the_matrix_and_is_not_looked_ahead_for() -> None:
    rows = UnitRows(np.eye(3), device="cpu")
    assert isinstance(rows._screen, OnDevice)
    assert rows.most_ahead == 0
