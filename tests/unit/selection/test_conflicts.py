"""A conflict near the threshold is decided exactly, and only for rows that are about to be taken."""

from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.selection.conflicts import Conflicts
from g2is.selection.core import CoreKnowledge
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk


def row_at(cosine: float) -> list[float]:
    """A unit row (3,) with this cosine with the first axis."""
    return [cosine, float(np.sqrt(1 - cosine**2)), 0.0]


class Screened(UnitRows):
    """Gives the screened values it is told for cosines with row 0, and counts exact ones."""

    def __init__(self, pool: np.ndarray, told: list[float]) -> None:
        super().__init__(pool)
        self.told, self.num_exact = np.array(told, np.float32), 0
        self.most_ahead = 0
        self.margin = 0.01

    def cosines(self, direction: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        found = super().cosines(direction, rows)
        if np.allclose(np.atleast_2d(direction)[0], self.unit(0)):
            found = np.broadcast_to(self.told if rows is None else self.told[rows], found.shape).copy()
        return found

    def exact_cosines(self, rows: np.ndarray, direction: np.ndarray) -> np.ndarray:
        self.num_exact += len(rows)
        return super().exact_cosines(rows, direction)


@pytest.mark.parametrize(("exact", "screened", "conflicts"), [(-0.101, -0.095, True), (-0.099, -0.105, False)])
def test_a_screened_cosine_on_the_wrong_side_of_the_threshold_decides_nothing(
    exact: float, screened: float, conflicts: bool
) -> None:
    rows = Screened(np.array([row_at(1.0), row_at(exact)]), [1.0, screened])
    found = Conflicts(rows, 0.1)
    found.add(0, np.array([1]), rows.told[1:])
    assert not found.surely[1]
    assert found.has(1) is conflicts
    assert found.surely.tolist() == [False, conflicts]


def test_only_a_row_that_contends_is_computed_exactly() -> None:
    pool = np.array([row_at(1.0), *(row_at(-0.1 + 0.001 * step) for step in range(-4, 5))])
    rows = Screened(pool, [1.0] + [-0.1] * 9)
    found = Conflicts(rows, 0.1)
    surely = found.add(0, np.arange(1, 10), rows.told[1:])
    assert not surely.any()
    assert rows.num_exact == 0
    assert [found.has(row) for row in (1, 9)] == [True, False]
    assert rows.num_exact == 2


def test_a_row_that_surely_conflicts_needs_no_exact_value() -> None:
    rows = Screened(np.array([row_at(1.0), row_at(-0.2), row_at(0.1)]), [1.0, -0.2, 0.1])
    found = Conflicts(rows, 0.1)
    assert found.add(0, np.array([1, 2]), rows.told[1:]).tolist() == [True, False]
    assert (found.has(1), found.has(2), rows.num_exact) == (True, False, 0)


def test_a_row_that_was_cleared_is_looked_at_again_when_a_later_row_may_conflict_with_it() -> None:
    pool = np.array([row_at(1.0), row_at(-0.1), [0.1, -0.994987, 0.0]])
    rows = UnitRows(pool)
    found = Conflicts(rows, 0.1)
    found.add(0, np.array([1]), np.array([-0.1], np.float32))
    assert not found.has(1)
    found.add(2, np.array([1]), np.array([-0.1], np.float32))  # in truth -1
    assert found.has(1)


@pytest.mark.parametrize(("cosine", "screened", "expected"), [(-0.101, -0.095, [0, 2]), (-0.099, -0.105, [0, 1])])
@pytest.mark.parametrize("shared", [True, False])
def test_the_walk_takes_the_row_that_the_exact_cosine_allows(
    cosine: float, screened: float, expected: list[int], shared: bool
) -> None:
    """Row 1 is nearer to the anchor than row 2, by the screen and in truth, unless it conflicts."""
    pool = np.array([row_at(1.0), row_at(cosine), [-0.1, 0.0, 0.995]])
    pool[2] = [-0.1 - 1e-3 if cosine > -0.1 else -0.0999, 0.0, 0.995]
    rows: Any = Screened(pool, [1.0, screened, -0.1])
    settings = SelectionConfig(
        selector="walk", conflict_tolerance=0.1, delta=0.0, duplicate_threshold=None, cross_component_conflicts=shared
    )
    core = CoreKnowledge(np.eye(3)[:1], np.ones(1), np.ones(1), 5, 0)
    assert walk(rows, core, 2, settings).rows.tolist() == expected
