"""Near misses: which rows, and which rule."""

import numpy as np
import pytest

from g2is.report.misses import Miss, Rules, near_misses
from g2is.report.relations import Relating, Trails

NONE = Rules(copy=None, takes_opposed=True)
ONE_TRAIL = Trails(0.1, np.array([0]), False)


def misses(
    rules: Rules,
    *,
    noise: float | None = None,
    walks: bool = False,
    closed: tuple[int, ...] = (),
    scored: np.ndarray | None = None,
    trails: Trails | None = None,
) -> dict[int, Miss]:
    """Rows 0 (taken), 1 its near-copy, 2 against the target, 3 against row 0, 4 and 5 others; the target is x."""
    rows = np.array([[1, 0.1], [1, 0.11], [-1, 0.2], [-0.9, -0.5], [0.5, 1], [0.5, -1]], np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    of_group = None if noise is None else [noise]
    relating = Relating(
        *(6, rows[:1], np.array([0]), np.array([[1, 0]], np.float32), np.array([0]), np.array([0]), of_group),
        trails,
    )
    relating.look(np.arange(6), rows)
    is_chosen, is_closed = np.arange(6) == 0, np.isin(np.arange(6), closed)
    sources = ["a", "a", "a", "a", "full", "a"]
    found = near_misses(relating.found(), is_chosen, is_closed, np.array([0]), [0.5], sources, rules, walks, scored)
    assert [miss.worth for miss in found] == sorted((miss.worth for miss in found), reverse=True)
    return {miss.row: miss for miss in found}


def test_each_rule_is_found_and_names_the_row_that_it_is_about() -> None:
    rules = Rules(copy=0.98, takes_opposed=False, full_quotas=("full",))
    found = misses(rules, walks=True, trails=ONE_TRAIL)
    assert {row: miss.rule for row, miss in found.items()} == {
        1: "near-copy", 2: "opposed", 3: "opposed", 4: "quota", 5: "not reached",
    }  # fmt: skip
    assert found[1].other == 0
    assert 0 not in found


@pytest.mark.parametrize(
    ("rules", "noise", "walks", "row", "rule"),
    [
        (NONE, None, True, 3, "conflict"),
        (NONE, 1.0, False, 1, "covered"),
        (NONE, None, False, 1, "outscored"),
        (Rules(copy=None, takes_opposed=True, ran_out=[0]), None, False, 1, "passed over"),
        (NONE, None, True, 4, "not reached"),
        (Rules(copy=0.98, takes_opposed=True), 1.0, False, 1, "near-copy"),
    ],
)
def test_a_rule_counts_only_where_it_was_one(
    rules: Rules, noise: float | None, walks: bool, row: int, rule: str
) -> None:
    assert misses(rules, noise=noise, walks=walks, trails=ONE_TRAIL if walks else None)[row].rule == rule


def test_a_conflict_says_what_it_is_one_with() -> None:
    told = misses(NONE, walks=True, trails=ONE_TRAIL)[3]
    assert (told.other, told.told) == (
        0,
        "it conflicts with a row of every trail of the target, most here: cosine -0.918",
    )
    shared = Trails(0.1, np.array([0]), True)
    assert misses(NONE, walks=True, trails=shared)[3].told == "it conflicts with a row taken: cosine -0.918"


def test_a_row_that_conflicts_with_what_no_trail_knows_is_not_refused_for_that() -> None:
    included = Trails(0.1, np.array([-1]), False)  # by name: no row conflicts with it
    assert misses(NONE, walks=True, trails=included)[3].rule == "not reached"


def test_rows_that_could_not_be_looked_at_are_no_misses() -> None:
    assert set(misses(NONE, closed=(1, 4))) == {2, 3, 5}


def test_nor_are_rows_that_the_selector_did_not_look_at() -> None:
    scored = np.array([[0.9], [0.8], [np.nan], [0.1], [np.nan], [0.2]])
    assert set(misses(NONE, noise=1.0, scored=scored)) == {1, 3, 5}
    assert set(misses(NONE, noise=1.0, scored=np.full((6, 1), np.nan))) == {1, 2, 3, 4, 5}  # it scores none
