"""Candidates: the rows nearest to the target, found block by block, and selections that look at these alone."""

import re
from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.errors import SelectionError
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits, Quota
from g2is.selection.narrowed import num_candidates
from g2is.selection.nearest import Nearest
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows

K = 32
METHODS = ("design", "match", "interaction", "spice", "tsds", "knn-kde", "g2is", "official")


def examples(num_rows: int, seed: int) -> np.ndarray:
    """Rows in clusters, float16."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(6, K))
    return (rng.normal(size=(num_rows, K)) + 1.5 * centres[rng.integers(0, 6, num_rows)]).astype(np.float16)


def drawn(num_rows: int, seed: int) -> np.ndarray:
    """Such rows with copies and a zero row among them."""
    rows = examples(num_rows, seed)
    rows[num_rows // 2 : num_rows // 2 + 5] = rows[:5]
    rows[num_rows - 1] = 0
    return rows


def plain(pool: np.ndarray, target: np.ndarray, num: int) -> list[int]:
    """The same from the whole matrix at once."""
    rows, of = pool.astype(np.float64), target.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    units = rows / np.where(lengths > 0, lengths, 1)[:, None]
    best = (units @ (of / np.linalg.norm(of, axis=1)[:, None]).T).max(axis=1).round(12)
    best[lengths == 0] = -np.inf
    return sorted(sorted(range(len(pool)), key=lambda row: (-best[row], row))[:num])


def nearest(pool: np.ndarray, targets: dict[str, np.ndarray], block: int, shuffled: bool = False) -> Nearest:
    found = Nearest(len(pool), targets)
    order = np.random.default_rng(0).permutation(len(pool)) if shuffled else np.arange(len(pool))
    for low in range(0, len(pool), block):
        places = order[low : low + block]
        found.look(places, UnitRows(pool[places], quantise=False))
    return found


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("num", [1, 3, 57, 119, 120, 121])
@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_the_rows_nearest_to_any_example_whatever_the_blocks(num: int, block: int, seed: int) -> None:
    pool, target = drawn(120, seed), examples(6, seed + 50)
    for shuffled in (False, True):
        assert nearest(pool, {"t": target}, block, shuffled).rows(num).tolist() == plain(pool, target, min(num, 120))


def test_of_rows_that_are_equally_near_the_lowest_are_candidates() -> None:
    pool = np.repeat(examples(2, 1), 10, axis=0)  # ten and ten copies
    first = plain(pool, pool[:1], 20)[0]
    assert nearest(pool, {"t": pool[first : first + 1]}, 3, shuffled=True).rows(4).tolist() == list(range(4))


def test_rows_without_a_direction_are_the_last_candidates() -> None:
    pool = np.zeros((6, K), np.float16)
    pool[4, 0] = -1  # it opposes the target, and is nearer to it than nothing
    found = nearest(pool, {"t": np.eye(K, dtype=np.float16)[:1]}, 2)
    assert found.rows(1).tolist() == [4]
    assert found.rows(3).tolist() == [0, 1, 4]
    assert found.zero_rows.tolist() == [0, 1, 2, 3, 5]


def test_each_target_has_its_candidates_and_included_rows_are_among_them() -> None:
    pool, one, two = drawn(120, 3), examples(3, 60), examples(3, 61)
    expected = {*plain(pool, one, 9), *plain(pool, two, 9), 119, 5}
    assert nearest(pool, {"one": one, "two": two}, 50).rows(9, included=[119, 5]).tolist() == sorted(expected)


def test_a_target_of_zeros_has_no_candidates() -> None:
    with pytest.raises(SelectionError, match=r"target 't': expected an example that is not zero, found 2 zero row"):
        Nearest(9, {"t": np.zeros((2, K))})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_limits", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_selection_among_candidates_is_that_of_a_pool_of_these_rows(
    method: str, with_limits: bool, seed: int
) -> None:
    pool, targets = drawn(300, seed), {"a": examples(8, seed + 50), "b": examples(5, seed + 70)}
    settings = SelectionConfig(method=method, candidates=40, keep_zero_rows=False)
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 9, 300)
    quota = rng.random(300) < 0.5
    places = nearest(pool, targets, 64).rows(40, included=[7, 298] if with_limits else [])

    def limits(of: np.ndarray) -> Limits:
        if not with_limits:
            return Limits()
        included = np.searchsorted(of, [7, 298]).tolist()
        return Limits(tokens[of], included, [Quota("web", quota[of], 20, "tokens")])

    of_targets = {name: TargetRows(12, rows=rows) for name, rows in targets.items()}
    narrowed = apply_selector(300, UnitRows(pool[places]), of_targets, settings, limits(np.arange(300)), places=places)
    alone = apply_selector(len(places), UnitRows(pool[places]), of_targets, settings, limits(places))
    assert narrowed.record.rows.tolist() == places[alone.record.rows].tolist()
    assert [step.score for step in narrowed.record.steps] == pytest.approx(
        [step.score for step in alone.record.steps], nan_ok=True, abs=0
    )
    assert narrowed.scored.keys() == alone.scored.keys()
    for name, column in narrowed.scored.items():
        assert np.array_equal(column[places], alone.scored[name], equal_nan=True)
        assert np.isnan(np.delete(column, places)).all()


def test_what_no_candidate_agrees_with_is_said_of_the_candidates() -> None:
    targets = np.eye(K, dtype=np.float32)[:2]
    near_the_first = np.eye(K, dtype=np.float32)[np.zeros(9, int)] + 0.1 * drawn(9, 0)
    near_the_first[:, 1] = -0.3
    agrees_with_the_second = 0.1 * np.eye(K, dtype=np.float32)[[1]] + np.eye(K, dtype=np.float32)[[5]]  # far off
    pool = np.concatenate([near_the_first, agrees_with_the_second])
    places = nearest(pool, {"t": targets}, 64).rows(6)
    assert 9 not in places
    settings = SelectionConfig(method="match", candidates=6)
    of_target = {"t": TargetRows(4, rows=targets)}
    found = apply_selector(10, UnitRows(pool[places]), of_target, settings, Limits(), places=places)
    (told,) = found.record.unanswered
    assert told.startswith("target 't': no row agrees with 1 of its 2 examples")
    assert "6 of the pool's 10 rows were looked at" in told
    assert "6 of the pool's 10 rows were looked at" in found.told()[0]


def test_that_no_candidate_is_taken_at_all_is_said_of_the_candidates() -> None:
    pool, places = drawn(60, 0), np.arange(20)
    settings = SelectionConfig(method="match", candidates=20)
    limits = Limits(quotas=[Quota("web", np.ones(60, bool), 0)])
    of_target = {"t": TargetRows(4, rows=examples(4, 9))}
    with pytest.raises(SelectionError, match=r"found none: .*20 of the pool's 60 rows were looked at"):
        apply_selector(60, UnitRows(pool[:20]), of_target, settings, limits, places=places)


def test_candidates_as_many_as_the_pool_are_all() -> None:
    settings = SelectionConfig(candidates=40)
    assert num_candidates(settings, 41) == 40
    assert num_candidates(settings, 40) is None
    assert num_candidates(SelectionConfig(), 41) is None


def test_candidates_that_cost_less_than_the_budget_are_refused() -> None:
    pool, places = drawn(60, 0), np.arange(10)
    message = r"expected rows worth the budget of 30 tokens.*found 10 rows of 20 tokens; ask for more candidates"
    with pytest.raises(SelectionError, match=message):
        apply_selector(
            60,
            UnitRows(pool[:10]),
            {"t": TargetRows(30, rows=examples(4, 9))},
            SelectionConfig(candidates=10),
            Limits(np.full(60, 2)),
            places=places,
        )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "less", "candidates": 9}, "selection.candidates: expected the selector design.*found top"),
        ({"method": "random", "candidates": 9}, "representation that has vectors, found none"),
        ({"candidates": 0}, "greater than or equal to 1"),
        ({"selector": "own:mine", "representation": "lexical", "candidates": 5}, "expected a representation that has"),
    ],
)
def test_candidates_that_nothing_would_look_at_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        SelectionConfig(**given)
