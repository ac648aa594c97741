"""Budgets are read exactly and shared exactly."""

import numpy as np
import pytest

from g2is.errors import SelectionError
from g2is.selection.budget import Budget, parse_budget, parse_quota, read_budget, share_budget

LENGTHS = np.array([40, 20, 60, 80], np.int32)  # 200 tokens, the shortest row 20


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


def test_a_budget_above_the_pool_is_refused_with_both_numbers() -> None:
    with pytest.raises(SelectionError, match=r"at most the pool's 50 rows, found 51 = 51 rows"):
        parse_budget("51", 50)
    with pytest.raises(SelectionError, match=r"at most 100% of the pool's rows, found 102%"):
        parse_budget("102%", 50)


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


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("2Mtok", 2_000_000),
        ("1.5Mtok", 1_500_000),
        ("500ktok", 500_000),
        ("500KTOK", 500_000),
        (" 12000 tok ", 12_000),
        ("0.0001Gtok", 100_000),
        ("0.29ktok", 290),
        (".05ktok", 50),
    ],
)
def test_a_budget_of_tokens_is_read_exactly(text: str, tokens: int) -> None:
    budget = read_budget(text, 2, np.array([50, 10**9]))
    assert (budget.tokens, budget.rows, budget.amount, budget.unit) == (tokens, None, tokens, "tokens")


def test_a_share_is_one_of_all_rows_read_whatever_was_left_out() -> None:
    assert read_budget("50%", 6, LENGTHS) == Budget(rows=3)
    assert read_budget("3", 6, LENGTHS) == Budget(rows=3)
    with pytest.raises(SelectionError, match=r"at most the pool's 4 rows that are left of the 6 read, found 100% = 6"):
        read_budget("100%", 6, LENGTHS)


@pytest.mark.parametrize(
    "text", ["2Mtk", "1,5%", "-3", "-2ktok", "2 M tok", "tok", "ktok", "1e3tok", "2Ttok", "2\u212atok"]
)
def test_a_malformed_budget_names_every_form(text: str) -> None:
    with pytest.raises(SelectionError, match=r"tokens such as '2Mtok'.*rows such as '1%'.*such as '500', found"):
        read_budget(text, 4, LENGTHS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("19tok", r"at least 20 tokens, which is the shortest of the pool's 4 rows, found 19tok = 19"),
        ("0tok", "at least one row, found 0tok"),
        ("0.5tok", "at least 20 tokens.* found 0.5tok = 0"),
        ("201tok", r"at most the 200 tokens of the pool's 4 rows, found 201tok = 201"),
        ("0", "at least one row, found 0;"),
        ("0.0%", "at least one row, found 0.0%"),
        ("101%", "at most 100% of the pool's rows, found 101%"),
    ],
)
def test_a_budget_that_cannot_be_met_is_refused_with_both_numbers(text: str, problem: str) -> None:
    with pytest.raises(SelectionError, match=problem):
        read_budget(text, 4, LENGTHS)


def test_on_matrices_a_budget_of_tokens_is_refused_and_says_why() -> None:
    with pytest.raises(SelectionError, match="how many tokens a row has is not known"):
        parse_budget("2Mtok", 100)


def test_a_quota_is_a_share_of_the_budget_or_a_number_of_rows() -> None:
    assert parse_quota("web", "50%", Budget(rows=15)) == (7, "rows")
    assert parse_quota("web", "50%", Budget(tokens=1001)) == (500, "tokens")
    assert parse_quota("web", "100", Budget(tokens=1001)) == (100, "rows")
    assert parse_quota("web", "100%", Budget(rows=15)) == (15, "rows")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("half", "share of the budget such as '50%' or a number of rows such as '100', found 'half'"),
        ("5ktok", "found '5ktok'"),
        ("-1", "found '-1'"),
        ("0", "at least one row, found 0;"),
        ("1%", "at least one row, but 1% of the budget of 15 rows is 0 rows"),
        ("101%", "at most 100% of the budget, found 101%"),
    ],
)
def test_a_quota_that_means_nothing_is_refused_with_its_source(text: str, problem: str) -> None:
    with pytest.raises(SelectionError, match=f"quota of 'web': .*{problem}"):
        parse_quota("web", text, Budget(rows=15))
