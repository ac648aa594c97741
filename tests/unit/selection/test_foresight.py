"""Looking ahead saves passes over the pool and never changes what is taken."""

from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.selection import foresight
from g2is.selection.component import CoreCosines
from g2is.selection.core import CoreKnowledge
from g2is.selection.foresight import Foresight, Position, likely_next
from g2is.selection.record import Walk
from g2is.selection.rules import Rules
from g2is.selection.similarity import UnitRows
from g2is.selection.walk import walk


class CountedRows(UnitRows):
    """Keeps the number of rows and directions of each pass, but for the few rows that a check reads."""

    def __init__(self, pool: np.ndarray, **how: Any) -> None:
        super().__init__(pool, **how)
        self.passes: list[tuple[int, int]] = []

    def cosines(self, direction: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        if rows is None or direction.ndim == 2:
            self.passes.append((self.num_rows if rows is None else len(rows), len(np.atleast_2d(direction))))
        return super().cosines(direction, rows)


def clusters(seed: int, num_rows: int = 400, k: int = 40, num_clusters: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_clusters, k))
    return (centres[rng.integers(num_clusters, size=num_rows)] + 0.7 * rng.normal(size=(num_rows, k))).astype(
        np.float32
    )


def core(pool: np.ndarray, num_components: int = 3) -> CoreKnowledge:
    return CoreKnowledge(
        pool[:num_components].astype(np.float64), np.ones(num_components), np.zeros(num_components), 9, 0
    )


def settings(seed: int) -> SelectionConfig:
    return SelectionConfig(
        selector="walk",
        conflict_tolerance=(0.0, "noise", 0.1)[seed % 3],
        delta=(0.8, 0.97)[seed % 2],
        consistency_reference=("previous", "best", "anchor")[seed % 3],
        consistency_sign=("absolute", "signed")[seed // 2 % 2],
        cross_component_conflicts=seed % 5 == 0,
        duplicate_threshold=(None, 0.8)[seed % 2],
    )


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))])
def test_rows_are_the_same_with_foresight_without_it_and_with_wrong_guesses(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, found = clusters(seed), []

    def taken(rows: UnitRows) -> Walk:
        return walk(rows, core(pool), 90, settings(seed))

    for most_ahead in (16, 0):
        rows = CountedRows(pool)
        rows.most_ahead = most_ahead
        found.append((taken(rows), len(rows.passes)))
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(foresight, "likely_next", lambda rows, *_: rng.permutation(rows.num_rows)[:5].tolist())
    guessing = taken(UnitRows(pool))
    assert found[0][0].steps == found[1][0].steps == guessing.steps
    assert len(found[0][0].steps) == 90
    assert found[0][1] < found[1][1] / 2, "a pass should answer more than two steps"


def test_among_all_rows_the_guess_is_what_the_trail_takes() -> None:
    pool, of = (
        clusters(3),
        SelectionConfig(selector="walk", conflict_tolerance=0.0, consistency_reference="best", delta=0.9),
    )
    rows = UnitRows(pool)
    result = walk(rows, core(pool, 1), 12, of)
    direction = core(pool, 1).components[0] / np.linalg.norm(core(pool, 1).components[0])
    anchor = int(result.rows[0])
    position = Position(anchor, rows.unit(anchor), direction, result.steps[0].consistency)
    every, rules = np.arange(len(pool)), Rules.resolve(of, rows.k)
    assert likely_next(rows, rules, position, every, 11, set()) == result.rows[1:].tolist()
    known = set(result.rows[2:5].tolist())
    assert likely_next(rows, rules, position, every, 8, known) == [
        row for row in result.rows[1:].tolist() if row not in known
    ]


def test_kept_cosines_stand_for_the_rows_that_are_still_alive() -> None:
    pool = clusters(1)
    rows = UnitRows(pool)
    ahead = Foresight(rows)
    rules = Rules.resolve(SelectionConfig(selector="walk", conflict_tolerance=1.0, delta=0.0), rows.k)
    alive = np.arange(1, 400, 2)
    near = rows.cosines(rows.unit(0), alive)
    position = Position(0, rows.unit(0), rows.unit(0), 1.0)
    (with_last,) = ahead.look(alive, [rows.unit(0)], near, rules, position)
    np.testing.assert_allclose(with_last, near, atol=2 * rows.margin)
    row = int(alive[near.argmax()])
    for keep in (np.arange(200) % 3 > 0, np.arange(133) > 20):
        alive = alive[keep]
        ahead.keep(keep)
    found = ahead.cosines_with(row)
    assert found is not None
    np.testing.assert_allclose(found, rows.exact_cosines(alive, rows.unit(row)), atol=rows.margin)
    assert ahead.cosines_with(row) is None
    # a second pass leaves what is kept of the first where it belongs
    kept = next(iter(ahead._kept))
    ahead.look(alive, [rows.unit(2)], near[: len(alive)], rules, position)
    found = ahead.cosines_with(kept)
    assert found is not None
    np.testing.assert_allclose(found, rows.exact_cosines(alive, rows.unit(kept)), atol=rows.margin)


def test_passes_read_only_the_rows_that_do_not_conflict() -> None:
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(2000, 30))  # half of the rows conflict with any one
    rows = CountedRows(pool)
    result = walk(
        rows, core(pool, 1), 15, SelectionConfig(selector="walk", conflict_tolerance=0.0, delta=0.0, exact_budget=False)
    )
    assert len(result.steps) > 4
    read = [num_rows for num_rows, _ in rows.passes]
    assert read == sorted(read, reverse=True)
    assert read[-1] < 300


def test_no_pass_has_more_directions_than_are_worth_it() -> None:
    pool = clusters(2)
    rows = CountedRows(pool)
    walk(rows, core(pool, 3), 200, settings(4))
    assert max(num for _, num in rows.passes) <= 16


def test_cosines_with_the_components_come_from_one_pass_for_sixteen_of_them() -> None:
    pool = clusters(2)
    rows = CountedRows(pool)
    of = core(pool, 20)
    cosines = CoreCosines(rows, of)
    for index in (*range(20), 0, 19):
        exact = rows.exact_cosines(np.arange(400), cosines.directions[index])
        np.testing.assert_allclose(cosines.of(index), exact, atol=rows.margin)
    assert [num for _, num in rows.passes] == [16, 4]
