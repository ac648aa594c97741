"""Unit rows in 16, 8 and 1 bits: what lies in a store, what is read of it, and that selections are exact over that."""

from pathlib import Path

import numpy as np
import pytest
import torch

from g2is.config import SelectionConfig, Storage
from g2is.errors import MatrixError, SelectionError, StoreError
from g2is.gradients.rows import gradient_rows, stored_as
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows
from g2is.store.matrix import RowTable, Shard
from g2is.store.rows import unit_rows
from g2is.store.stored_as import DTYPES, decoded, encoded

K, N = 64, 200
FORMS: tuple[Storage, ...] = ("float16", "int8", "sign")


def vectors(num_rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(5, K))
    return (rng.normal(size=(num_rows, K)) + centres[rng.integers(0, 5, num_rows)]).astype(np.float32)


def meant(stored: np.ndarray) -> np.ndarray:
    """The values that stored rows stand for, up to their length, plainly; float64."""
    if stored.dtype == np.uint8:
        return np.array(
            [[1.0 if byte >> (7 - bit) & 1 else -1.0 for byte in row for bit in range(8)] for row in stored]
        )
    return stored.astype(np.float64)


def table_of(folder: Path, rows: np.ndarray, storage: Storage, names: tuple[str, ...] = ("epoch-1",)) -> RowTable:
    table = RowTable(folder, "f", shard_rows=32)
    for number, low in enumerate(range(0, len(rows), 32)):
        some = rows[low : low + 32]
        keys = np.zeros((len(some), 16), np.uint8)
        keys[:, 0], keys[:, 1] = np.arange(len(some)), number
        arrays: dict[str, np.ndarray] = {}
        for place, name in enumerate(names):
            arrays |= unit_rows(np.roll(some, place, axis=1)).arrays(f"{name}/less/")
        table.write(number, stored_as(Shard(keys, arrays), storage))
    return table


@pytest.mark.parametrize(("storage", "width"), [("float16", K), ("int8", K), ("sign", K // 8)])
def test_a_row_is_stored_in_as_many_bits_as_its_form_says(storage: Storage, width: int) -> None:
    rows = unit_rows(vectors(9, 0)).rows
    stored = encoded(rows, storage)
    assert (stored.dtype, stored.shape) == (DTYPES[storage], (9, width))
    back, exact = decoded(stored), meant(stored)
    assert back.dtype == np.float16
    np.testing.assert_allclose(back, exact / np.linalg.norm(exact, axis=1, keepdims=True), atol=1e-3)
    cosines = np.sum(back.astype(float) * rows.astype(float), axis=1)
    assert cosines.min() > {"float16": 0.999, "int8": 0.999, "sign": 0.65}[storage]


def test_int8_reaches_127_in_every_row_and_keeps_zeros() -> None:
    rows = np.array([[0.6, -0.8], [0, 0], [1, 1e-3]], np.float16)
    assert encoded(rows, "int8").tolist() == [[95, -127], [0, 0], [127, 0]]
    assert decoded(np.zeros((1, 2), np.int8)).tolist() == [[0, 0]]


def test_signs_are_packed_the_first_the_highest_bit() -> None:
    rows = np.array([[1, -1, 1, 1, -1, -1, -1, 0]], np.float16)
    assert encoded(rows, "sign").tolist() == [[0b10110001]]


def test_signs_that_do_not_fill_bytes_are_refused() -> None:
    with pytest.raises(StoreError, match=r"expected rows of a multiple of 8 coordinates, found 12; set gradients.pro"):
        encoded(np.zeros((2, 12), np.float16), "sign")


@pytest.mark.parametrize("storage", FORMS)
@pytest.mark.parametrize("device", [None, "cpu"])
def test_cosines_are_of_the_stored_values(storage: Storage, device: str | None) -> None:
    made = vectors(N, 1)
    made[7] = 0
    unit = unit_rows(made)
    stored = encoded(unit.rows, storage)
    rows = UnitRows(stored, usable=unit.norm > 0, device=device, quantise=None if device else False)
    exact = meant(stored)
    exact[7] = 0
    lengths = np.linalg.norm(exact, axis=1)
    exact /= np.where(lengths > 0, lengths, 1)[:, None]
    direction = np.random.default_rng(3).normal(size=K)
    direction /= np.linalg.norm(direction)
    every = np.arange(N)
    assert (rows.num_rows, rows.k, rows.nodes[7]) == (N, K, False)
    np.testing.assert_allclose(rows.exact_cosines(every, direction), exact @ direction, atol=1e-14)
    np.testing.assert_allclose(rows.cosines(direction), exact @ direction, atol=rows.margin, rtol=0)
    np.testing.assert_allclose(rows.cosines(direction, every[::3]), exact[::3] @ direction, atol=rows.margin, rtol=0)
    np.testing.assert_allclose(rows.rough_units(every[:5]), exact[:5], atol=1e-6)


@pytest.mark.parametrize("storage", FORMS)
@pytest.mark.parametrize(
    "method",
    [
        *("design", "match", "g2is", "official", "less", "less-rr", "interaction", "spice", "bids"),
        *("tsds", "knn-kde", "uot", "gist", "seed"),
    ],
)
def test_a_selection_is_exact_over_what_is_stored(method: str, storage: Storage) -> None:
    unit, target = unit_rows(vectors(N, 4)), {"t": TargetRows(25, rows=vectors(6, 5).astype(np.float64))}
    stored = encoded(unit.rows, storage)
    settings = SelectionConfig(method=method)
    if (method, storage) == ("seed", "sign"):  # of channels of one magnitude none stands out
        with pytest.raises(SelectionError, match="stored as signs have none"):
            apply_selector(N, UnitRows(stored, usable=unit.norm > 0), target, settings, Limits())
        return
    ours = apply_selector(N, UnitRows(stored, usable=unit.norm > 0), target, settings, Limits())
    plain = apply_selector(N, UnitRows(meant(stored)), target, settings, Limits())
    assert ours.record.rows.tolist() == plain.record.rows.tolist()


@pytest.mark.parametrize("storage", FORMS)
def test_rows_are_read_whole_in_part_and_shard_by_shard(storage: Storage, tmp_path: Path) -> None:
    made = vectors(100, 6)
    made[50] = np.nan
    reader = gradient_rows(table_of(tmp_path, made, storage), np.arange(100)[::-1].copy(), [("epoch-1", 1.0)], "less")
    whole = reader.read()
    expected = encoded(unit_rows(made).rows, storage)[::-1].copy()
    expected[49] = 0
    assert whole.rows.dtype == DTYPES[storage]
    assert np.array_equal(whole.rows, expected)
    assert not whole.units()[49].any()
    assert np.array_equal(whole.units()[:49], decoded(expected[:49]))
    places = np.array([0, 3, 49, 98])
    some = reader.read(places)
    assert np.array_equal(some.rows, expected[places])
    assert some.held_usable.tolist() == [True, True, False, True]
    assert some.reasons() == whole.reasons() == {49: "NaN gradient"}
    gathered = np.empty_like(expected)
    for at, block in reader.blocks():
        gathered[at] = block
    assert np.array_equal(gathered, expected)


@pytest.mark.parametrize("storage", FORMS)
def test_rows_under_several_checkpoints_are_weighted_unit_vectors_in_float16(storage: Storage, tmp_path: Path) -> None:
    made = vectors(40, 7)
    names = ("epoch-1", "epoch-2")
    table = table_of(tmp_path, made, storage, names)
    read = gradient_rows(table, np.arange(40), [("epoch-1", 0.25), ("epoch-2", 0.75)], "less").read()
    assert read.rows.dtype == np.float16
    assert read.rows.shape == (40, 2 * K)
    for place, weight in enumerate((0.25, 0.75)):
        unit = decoded(encoded(unit_rows(np.roll(made, place, axis=1)).rows, storage))
        np.testing.assert_allclose(read.rows[:, place * K : (place + 1) * K], unit * weight**0.5, atol=1e-3)


def test_whole_numbers_that_a_user_gives_are_still_refused() -> None:
    for matrix in (np.ones((3, 8), np.int8), torch.ones(3, 8, dtype=torch.uint8)):
        with pytest.raises(MatrixError, match="found"):
            UnitRows(matrix)
