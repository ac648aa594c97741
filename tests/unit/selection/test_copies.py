"""A row is told to be a near-copy of a taken row when it is about to be taken."""

import numpy as np

from g2is.config import SelectionConfig
from g2is.selection.copies import Copies
from g2is.selection.core import CoreKnowledge
from g2is.selection.limits import Limits
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk


def at(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_row_is_a_copy_of_any_row_that_was_taken_whatever_their_lengths() -> None:
    copies = Copies(UnitRows(at(0, 90, 1, 45) * np.array([[1.0], [2.0], [30.0], [1.0]])), 0.999)
    assert not copies.is_copy(2)
    copies.add(1)
    copies.add(0)
    assert copies.is_copy(2)
    assert not copies.is_copy(3)


def test_a_cosine_at_the_threshold_is_decided_in_float64() -> None:
    rows = UnitRows(at(0, 10, 10))
    threshold = float(rows.exact_cosines(np.array([1]), rows.unit(0))[0])
    for change, is_copy in ((0.0, True), (-1e-9, True), (1e-9, False)):
        copies = Copies(rows, threshold + change)
        copies.add(0)
        assert copies.is_copy(1) is is_copy


def test_a_threshold_of_one_finds_exact_copies_only() -> None:
    copies = Copies(UnitRows(np.array([[1.0, 3.0], [0.1, 0.3], [1.0, 3.001]])), 1.0)
    copies.add(0)
    assert [copies.is_copy(row) for row in (1, 2)] == [True, False]


def test_a_copy_of_a_row_that_another_trail_took_or_that_is_included_is_refused_when_its_turn_comes() -> None:
    pool = at(0, 90, 89.5, 60, 0.2)
    core = CoreKnowledge(np.eye(2), np.full(2, 0.5), np.zeros(2), 5, 0)
    settings = SelectionConfig(selector="walk", duplicate_threshold=0.999, conflict_tolerance=1.0, delta=0.0)
    # component 0 takes rows 0 and 3; then component 1 its anchor 1, and the copies 2 and 4 are no steps of anybody's
    result = walk(pool, core, 4, settings)
    assert result.rows.tolist() == [0, 3, 1]
    assert result.num_duplicates == 2
    assert walk(pool, core, 4, settings, limits=Limits(included=[2])).rows.tolist() == [2, 0, 3]
