"""Budgets are read exactly and shared exactly."""

import pytest

from g2is.errors import SelectionError
from g2is.selection.budget import parse_budget, share_budget


@pytest.mark.parametrize(
    ("text", "num_rows", "budget"),
    [
        ("1%", 1000, 10),
        ("0.5%", 1000, 5),
        ("1%", 1999, 19),
        (" 2.5 % ", 1000, 25),
        (".5%", 200, 1),
        ("5.%", 100, 5),
        ("100%", 7, 7),
        ("500", 500, 500),
        ("1", 1, 1),
    ],
)
def test_a_share_is_rounded_down_and_a_number_is_taken_as_it_is(text: str, num_rows: int, budget: int) -> None:
    assert parse_budget(text, num_rows) == budget


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_share_that_is_a_whole_number_of_rows_is_not_lost_to_float_noise(percent: int) -> None:
    """int(100 * 0.29) is 28."""
    assert parse_budget(f"{percent}%", 100) == percent


@pytest.mark.parametrize("text", ["", "%", "one", "-5", "-1%", "1e3", "0.01", "1.5", "1_000", "５%", "nan%", "5%%"])
def test_a_malformed_budget_is_refused_with_both_forms_named(text: str) -> None:
    with pytest.raises(SelectionError, match=r"'1%' or a number of rows such as '500', found"):
        parse_budget(text, 1000)


def test_a_budget_of_no_row_is_refused_and_says_what_one_row_is() -> None:
    with pytest.raises(SelectionError, match=r"1% of a pool of 50 rows is 0; of 50 rows, one row is 2%"):
        parse_budget("1%", 50)
    with pytest.raises(SelectionError, match="at least one row"):
        parse_budget("0", 50)
    with pytest.raises(SelectionError, match="at least one row"):
        parse_budget("1%", 0)


@pytest.mark.parametrize("text", ["51", "102%"])
def test_a_budget_above_the_pool_is_refused_with_both_numbers(text: str) -> None:
    with pytest.raises(SelectionError, match=r"at most the pool's 50 rows, found .* = 51 rows"):
        parse_budget(text, 50)


def test_shares_follow_the_largest_remainders() -> None:
    assert share_budget(10, [0.55, 0.25, 0.2]) == [6, 2, 2]  # 5.5, 2.5, 2.0: the remainders tie, the lower index wins
    assert share_budget(10, [0.52, 0.27, 0.21]) == [5, 3, 2]


def test_equal_weights_share_from_the_lowest_index_on() -> None:
    assert share_budget(5, [1 / 3] * 3) == [2, 2, 1]
    assert share_budget(2, [0.1] * 4) == [1, 1, 0, 0]


def test_weights_need_not_sum_to_one() -> None:
    assert share_budget(100, [3.0, 1.0]) == [75, 25]


def test_weights_that_are_all_zero_count_as_equal() -> None:
    assert share_budget(5, [0.0, 0.0]) == [3, 2]


def test_the_sum_is_the_budget_whatever_the_weights() -> None:
    for budget in (0, 1, 7, 12345):
        for weights in ([1e-300, 1.0], [1e17, 1.0, 1.0], [0.1] * 10, [0.0, 5.0]):
            shares = share_budget(budget, weights)
            assert sum(shares) == budget
            assert all(share >= 0 for share in shares)


@pytest.mark.parametrize("weights", [[], [-0.1, 1.1], [float("nan")], [float("inf"), 1.0]])
def test_weights_that_mean_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(SelectionError, match="finite numbers, none below 0"):
        share_budget(3, weights)
