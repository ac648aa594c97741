"""The best row is found by exact value, whatever the screen says within its margin."""

import numpy as np
import pytest

from g2is.selection.arrays import Floats, Mask, Rows
from g2is.selection.choose import choose_best, choose_first


class Judge:
    """Knows the exact values, and counts how many it was asked for."""

    def __init__(self, exact: list[float], valid: list[bool] | None = None) -> None:
        self.exact = np.array(exact)
        self.valid = np.array(valid if valid is not None else [True] * len(exact))
        self.num_asked = 0

    def __call__(self, rows: Rows) -> tuple[Floats, Mask]:
        self.num_asked += len(rows)
        return self.exact[rows], self.valid[rows]


def choose(screened: list[float], judge: Judge, margin: float = 0.1) -> int | None:
    return choose_best(np.arange(len(screened)), np.array(screened), margin, judge)


def test_a_better_exact_value_beats_a_better_screened_one() -> None:
    assert choose([0.5, 0.6, 0.1], Judge([0.58, 0.55, 0.1])) == 0


def test_only_rows_within_the_margin_are_computed_exactly() -> None:
    judge = Judge([0.5, 0.9, 0.1, -0.2])
    assert choose([0.5, 0.9, 0.1, -0.2], judge) == 1
    assert judge.num_asked == 1


def test_ties_go_to_the_lowest_row_even_if_rounding_says_otherwise() -> None:
    assert choose([0.4, 0.5, 0.5], Judge([0.4, 0.5, 0.5 + 1e-16])) == 1
    assert choose([0.4, 0.5, 0.5], Judge([0.4, 0.5, 0.5 + 1e-9])) == 2


def test_the_best_that_qualifies_is_taken_when_better_ones_do_not() -> None:
    assert choose([0.9, 0.8, 0.3, 0.2], Judge([0.9, 0.8, 0.3, 0.2], [False, False, True, True])) == 2


def test_a_row_hidden_behind_a_refused_one_still_wins() -> None:
    """Row 0 screens best and is refused; row 1 qualifies with it, but row 2, screened lower, is exactly better."""
    assert choose([0.95, 0.80, 0.74], Judge([0.9, 0.72, 0.78], [False, True, True])) == 2


def test_none_is_chosen_where_none_qualifies_or_there_is_none() -> None:
    assert choose([0.9, 0.8], Judge([0.9, 0.8], [False, False])) is None
    assert choose([], Judge([])) is None


def test_candidates_are_rows_not_places() -> None:
    judge = Judge([0.0, 0.0, 0.7, 0.0, 0.9])
    assert choose_best(np.array([2, 4]), np.array([0.7, 0.9]), 0.0, judge) == 4


@pytest.mark.parametrize("seed", range(20))
def test_random_cases_agree_with_looking_at_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = np.round(rng.uniform(-1, 1, size=200), 2)
    valid = rng.random(200) < rng.choice([0.01, 0.1, 0.9])
    screened = exact + rng.uniform(-0.1, 0.1, size=200)
    expected = min((row for row in range(200) if valid[row]), key=lambda row: (-exact[row], row), default=None)
    assert choose(screened.tolist(), Judge(exact.tolist(), valid.tolist())) == expected


def test_first_is_by_the_order_given_not_by_row() -> None:
    rows = np.array([9, 4, 7, 1])
    assert choose_first(rows, lambda some: some < 8, at_once=2) == 4
    assert choose_first(rows, lambda some: some < 2, at_once=2) == 1
    assert choose_first(rows, lambda some: some > 9) is None
    assert choose_first(rows[:0], lambda some: some > 0) is None


def test_what_is_not_admitted_has_no_value_and_only_rows_that_would_be_chosen_are_asked_about() -> None:
    asked: list[int] = []

    def admit(row: int) -> bool:
        asked.append(row)
        return row != 1

    judge = Judge([0.5, 0.9, 0.6, 0.59])
    assert choose_best(np.arange(4), judge.exact, 0.2, judge, admit) == 2
    assert asked == [1, 2]
    assert choose_first(np.array([1, 3, 2]), lambda some: some > 0, admit) == 3


def test_a_row_that_ties_with_one_that_is_not_admitted_does_not_win_by_it() -> None:
    """Row 0 is within GRAIN of row 2, the best if it were admitted; of those that are, row 1 is best, and not tied."""
    judge = Judge([0.5 - 0.9e-12, 0.5 + 0.9e-12, 0.5 + 1.8e-12])
    assert choose_best(np.arange(3), judge.exact, 0.1, judge) == 1
    assert choose_best(np.arange(3), judge.exact, 0.1, judge, lambda row: row != 2) == 1
    assert choose_best(np.arange(3), judge.exact, 0.1, judge, lambda row: row == 0) == 0


def test_none_is_chosen_where_none_is_admitted() -> None:
    assert choose_best(np.arange(2), np.array([0.9, 0.8]), 0.1, Judge([0.9, 0.8]), lambda row: False) is None
    assert choose_first(np.arange(2), lambda some: some >= 0, lambda row: False) is None
