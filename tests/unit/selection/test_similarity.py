"""The float32 screen keeps its promise, and exact values depend on the row alone."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from g2is.errors import MatrixError
from g2is.selection import similarity
from g2is.selection.arrays import GRAIN, dot_rows
from g2is.selection.coarse import InMemory
from g2is.selection.similarity import UnitRows, screened_as

DTYPES = ["float16", "bfloat16", "float32", "float64"]


def tensor(values: np.ndarray, dtype: str) -> torch.Tensor:
    return torch.from_numpy(values).to(getattr(torch, dtype))


def plain_cosines(pool: torch.Tensor, direction: np.ndarray) -> np.ndarray:
    values = pool.double().numpy()
    return values @ direction / np.linalg.norm(values, axis=1)


def unit_vector(rng: np.random.Generator, k: int) -> np.ndarray:
    vector = rng.normal(size=k)
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 2047, 5000])
def test_screened_cosines_are_within_the_margin_and_exact_ones_are_exact(dtype: str, k: int) -> None:
    rng = np.random.default_rng(k)
    pool = tensor(rng.normal(size=(70, k)) * np.exp(rng.normal(size=(70, 1))), dtype)
    direction = unit_vector(rng, k)
    rows = UnitRows(pool)
    truth = plain_cosines(pool, direction)
    assert np.abs(rows.cosines(direction) - truth).max() <= rows.margin < 2e-4
    np.testing.assert_allclose(rows.exact_cosines(np.arange(70), direction), truth, atol=1e-14, rtol=0)


def test_the_margin_holds_where_float32_sums_go_most_astray() -> None:
    """One large number first, then thousands too small to change a float32 sum."""
    k = 8192
    values = np.full((1, k), 2.0**-14)
    values[0, 0] = 1.0
    rows = UnitRows(values.astype(np.float16))
    direction = rows.unit(0)
    assert abs(rows.cosines(direction)[0] - 1) <= rows.margin


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e22, 1e30])
def test_rows_of_extreme_length_are_screened_as_well_as_others(scale: float) -> None:
    rng = np.random.default_rng(1)
    pool = torch.from_numpy(rng.normal(size=(9, 300)) * scale).float()
    direction = unit_vector(rng, 300)
    rows = UnitRows(pool)
    np.testing.assert_allclose(rows.cosines(direction), plain_cosines(pool, direction), atol=rows.margin)


def test_equal_rows_have_equal_exact_values_wherever_they_stand() -> None:
    rng = np.random.default_rng(2)
    pool = rng.normal(size=(101, 1777))
    pool[[5, 50, 100]] = pool[17]
    rows = UnitRows(pool.astype(np.float32))
    direction = unit_vector(rng, 1777)
    together = rows.exact_cosines(np.arange(101), direction)
    assert len({together[row] for row in (5, 17, 50, 100)}) == 1
    assert rows.exact_cosines(np.array([50]), direction)[0] == together[17]


def test_a_zero_row_is_no_node_and_has_cosine_zero_with_everything() -> None:
    pool = np.array([[0, 0], [3, 4], [-0.0, 0]], dtype=np.float16)
    rows = UnitRows(pool)
    assert rows.nodes.tolist() == [False, True, False]
    direction = np.array([0.6, 0.8])
    np.testing.assert_allclose(rows.cosines(direction), [0, 1, 0], atol=rows.margin)
    assert rows.exact_cosines(np.array([0, 2]), direction).tolist() == [0, 0]
    assert rows.unit(0).tolist() == [0, 0]


def test_no_rows_give_no_values() -> None:
    rows = UnitRows(np.ones((3, 4)))
    assert rows.exact_cosines(np.array([], dtype=np.intp), np.ones(4) / 2).shape == (0,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted_and_the_first_named(dtype: str, broken: float) -> None:
    values = np.ones((40, 6))
    values[[3, 30, 31], [0, 5, 2]] = broken
    with pytest.raises(MatrixError, match=r"NaN or Inf in 3 of 40 rows, first in row\(s\) \[3, 30, 31\]"):
        UnitRows(tensor(values, dtype))


@pytest.mark.parametrize("length", [1e-160, 1e200])
def test_rows_whose_squares_float64_cannot_hold_are_refused(length: float) -> None:
    values = np.ones((4, 3))
    values[2] = length
    with pytest.raises(MatrixError, match=r"row\(s\) \[2\]; scale the rows"):
        UnitRows(values)


def test_a_read_only_memory_map_is_read_without_a_warning_or_a_copy(tmp_path: Path) -> None:
    np.save(tmp_path / "pool.npy", np.eye(5, dtype=np.float16))
    pool = np.load(tmp_path / "pool.npy", mmap_mode="r")
    rows = UnitRows(pool)
    assert rows.unit(3).tolist() == [0, 0, 0, 1, 0]
    assert rows._tensor.data_ptr() == pool.ctypes.data


@pytest.mark.parametrize("layout", ["fortran", "reversed", "big-endian", "every second column"])
def test_the_layout_in_memory_does_not_matter(layout: str) -> None:
    values = np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32)
    laid_out = {
        "fortran": np.asfortranarray(values),
        "reversed": values[::-1, ::-1][::-1, ::-1].copy()[::-1][::-1],
        "big-endian": values.astype(">f4"),
        "every second column": np.repeat(values, 2, axis=1)[:, ::2],
    }[layout]
    direction = unit_vector(np.random.default_rng(1), 10)
    assert UnitRows(laid_out).cosines(direction).tolist() == UnitRows(values).cosines(direction).tolist()


def test_a_reversed_view_is_read_in_its_own_order() -> None:
    values = np.arange(1.0, 7).reshape(3, 2)
    assert UnitRows(values[::-1]).unit(0).tolist() == UnitRows(values).unit(2).tolist()


def test_products_row_by_row() -> None:
    left, right = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    assert dot_rows(left, right).tolist() == [3, 12]
    assert dot_rows(left, np.array([1.0, 0, 2])).tolist() == [4, 13]


def test_the_grain_is_above_float64_rounding_and_below_any_margin() -> None:
    assert 8192 * 2.0**-53 < GRAIN < UnitRows(np.ones((1, 1))).margin


@pytest.fixture
def gpu_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A GPU with room, which notes when it is asked for that."""
    asked: list[str] = []

    def mem_get_info() -> tuple[int, int]:
        asked.append("room")
        return 2**40, 2**40

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append("given back"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    return asked


def test_no_gpu_is_asked_where_the_settings_say_cpu(gpu_asked: list[str]) -> None:
    with screened_as("cpu"):
        assert similarity._device_for(1) is None
    assert not gpu_asked
    with screened_as("auto"):
        assert similarity._device_for(1) == "cuda"
        assert similarity._device_for(2**40) is None
    assert gpu_asked[:2] == ["given back", "room"]  # what torch keeps for itself is room, too


def test_without_a_gpu_that_can_be_used_rows_are_screened_in_memory(
    gpu_asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(similarity, "OnDevice", full)
    pool = np.random.default_rng(0).normal(size=(6, 8))
    assert isinstance(UnitRows(pool)._screen, InMemory)  # another process took the room after it was asked for
    assert gpu_asked
    with pytest.raises(torch.OutOfMemoryError):
        UnitRows(pool, device="cuda")

    def broken() -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert similarity._device_for(1) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_cosines_of_all_rows_are_the_same_bits_in_any_number_of_threads(dtype: str) -> None:
    rng = np.random.default_rng(0)
    pool = tensor(rng.normal(size=(700, 4096)), dtype)  # 22 blocks
    pool[5] = 0
    rows, units = UnitRows(pool), np.stack([unit_vector(rng, 4096) for _ in range(3)])
    expected = rows.over_units(np.arange(700), lambda of: of @ units.T)
    before = torch.get_num_threads()
    try:
        for num_threads in (1, 5):
            torch.set_num_threads(num_threads)
            np.testing.assert_array_equal(rows.cosines_with(units), expected)
    finally:
        torch.set_num_threads(before)


def test_what_the_page_for_selectors_lists_is_what_rows_can_be_asked() -> None:
    rng = np.random.default_rng(1)
    pool = np.vstack([rng.normal(size=(6, 4)), np.zeros(4)])
    rows, direction, some = UnitRows(pool), unit_vector(rng, 4), np.array([6, 2])
    norms = np.linalg.norm(pool, axis=1)
    units = pool / np.where(norms > 0, norms, 1)[:, None]
    found: dict[str, tuple[Any, Any]] = {
        "num_rows": (rows.num_rows, 7),
        "k": (rows.k, 4),
        "nodes": (rows.nodes, norms > 0),
        "norms": (rows.norms, norms),
        "cosines_with(units)": (rows.cosines_with(units[:3]), units @ units[:3].T),
        "cosines(direction)": (rows.cosines(direction), units @ direction),
        "exact_cosines(rows, direction)": (rows.exact_cosines(some, direction), units[some] @ direction),
        "unit(row)": (rows.unit(2), units[2]),
        "over_units(rows, measure)": (rows.over_units(np.arange(7), lambda block: block), units),
    }
    page = (Path(__file__).resolve().parents[3] / "docs/adding_a_selector.md").read_text(encoding="utf-8")
    table = page.split("### The pool's unit rows")[1].split("\n\n")[1]
    listed = re.findall(r"`([^`]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()))
    assert listed == list(found)
    for name, (value, expected) in found.items():
        np.testing.assert_allclose(value, expected, atol=rows.margin, err_msg=name)
