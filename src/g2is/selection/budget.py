"""How much to select, and how much of it each target and component gets (method.md step 6)."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from g2is.errors import SelectionError

Unit = Literal["rows", "tokens"]

_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_SHARE = re.compile(rf"{_NUMBER}\s*%")
_COUNT = re.compile(r"[0-9]{1,18}")  # Python refuses to read the longest
_TOKENS = re.compile(rf"{_NUMBER}\s*([kmg]?)tok", re.IGNORECASE | re.ASCII)
_SOMETHING = re.compile(r"[1-9]")  # in a number that is not 0
_OR_EXCLUDE = "ask for more, or leave the source's rows out with --exclude"
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


@dataclass(frozen=True)
class Budget:
    """What a selection may come to: `rows`, or `tokens` of the rendered rows; the other is None."""

    rows: int | None = None
    tokens: int | None = None

    @property
    def amount(self) -> int:
        """The number of rows or tokens."""
        amount = self.rows if self.tokens is None else self.tokens
        assert amount is not None
        return amount

    @property
    def unit(self) -> Unit:
        """What `amount` counts."""
        return "rows" if self.tokens is None else "tokens"


def read_budget(text: str, num_read: int, num_tokens: np.ndarray) -> Budget:
    """The budget that `text` ("1%", "500", "2Mtok") means for a pool of `num_read` rows.

    `num_tokens` (N,) int are the tokens of those of its rows that can be selected. A share is one of all rows read,
    whatever was excluded after. Raises SelectionError as `parse_budget`, and if the rows that are left are fewer than
    asked for, have fewer tokens, or are all longer than a budget of tokens.
    """
    check_form(text)
    found = _TOKENS.fullmatch(text.strip())
    left_out = f" that are left of the {num_read} read" if len(num_tokens) < num_read else ""
    if not found:
        rows = parse_budget(text, num_read)
        if rows > len(num_tokens):
            raise SelectionError(
                f"budget: expected at most the pool's {len(num_tokens)} rows{left_out}, found {text.strip()} = {rows}"
                " rows; ask for fewer, or exclude fewer"
            )
        return Budget(rows=rows)
    tokens = int(Fraction(found[1].removesuffix(".")) * _FACTORS[found[2].lower()])
    shortest, total = int(num_tokens.min()), int(num_tokens.sum())
    if tokens < shortest:
        raise SelectionError(
            f"budget: expected at least {shortest} tokens, which is the shortest of the pool's {len(num_tokens)}"
            f" rows{left_out}, found {text.strip()} = {tokens} tokens; ask for more"
        )
    if tokens > total:
        raise SelectionError(
            f"budget: expected at most the {total} tokens of the pool's {len(num_tokens)} rows{left_out}, found"
            f" {text.strip()} = {tokens} tokens; ask for fewer"
        )
    return Budget(tokens=tokens)


def whole_budget(amount: object) -> int:
    """What was given as a budget in place of a text. Raises SelectionError if that is no whole number."""
    if not isinstance(amount, int | np.integer) or isinstance(amount, bool):
        raise SelectionError(f"budget: expected a whole number of rows or tokens, found {amount!r}")
    return int(amount)


def check_form(text: str) -> None:
    """Raise SelectionError if `text` is no form of a budget, or one of nothing or over 100 %, whatever the pool."""
    text = text.strip()
    if not any(form.fullmatch(text) for form in (_SHARE, _COUNT, _TOKENS)):
        raise SelectionError(
            "budget: expected a number of tokens such as '2Mtok' or '500ktok', a share of the pool's rows such as '1%'"
            f" or a number of rows such as '500', found {text!r}"
        )
    if not _SOMETHING.search(text):
        raise SelectionError(f"budget: expected at least one row, found {text}; ask for more")
    if _above_whole(text):
        raise SelectionError(f"budget: expected at most 100% of the pool's rows, found {text}; ask for fewer")


def check_quota(source: str, text: str) -> None:
    """Raise SelectionError if `text` is no form of a quota, or one of nothing or over 100 %, whatever the budget."""
    text = text.strip()
    if not any(form.fullmatch(text) for form in (_SHARE, _COUNT)):
        raise SelectionError(
            f"quota of {source!r}: expected a share of the budget such as '50%' or a number of rows such as '100',"
            f" found {text!r}"
        )
    if not _SOMETHING.search(text):
        raise SelectionError(f"quota of {source!r}: expected at least one row, found {text}; {_OR_EXCLUDE}")
    if _above_whole(text):
        raise SelectionError(f"quota of {source!r}: expected at most 100% of the budget, found {text}")


def parse_budget(text: str, num_rows: int) -> int:
    """The number of rows that `text` ("1%", "0.5%", "500") asks for, of a pool of `num_rows`.

    A share is rounded down, as the authors' `int(N · fraction)` does, but in exact arithmetic: 7 % of 100 rows is 7
    rows and 29 % is 29, where floats give 28.

    Raises SelectionError as `check_form`, and if `text` asks for tokens, which a row of numbers does not have, or means
    no row of this pool or more rows than it has.
    """
    text = text.strip()
    check_form(text)
    if _TOKENS.fullmatch(text):
        raise SelectionError(
            f"budget: expected a share of the rows such as '1%' or a number of rows such as '500', found {text!r}: how"
            " many tokens a row has is not known, because a matrix of gradients does not say"
        )
    share = _SHARE.fullmatch(text)
    budget = _part(share, num_rows) if share else int(text)
    if budget == 0:
        least = f"; of {num_rows} rows, one row is {100 / num_rows:.3g}%" if share and num_rows else ""
        raise SelectionError(
            f"budget: expected at least one row, but {text} of a pool of {num_rows} rows is 0{least}; ask for more"
        )
    if budget > num_rows:
        raise SelectionError(
            f"budget: expected at most the pool's {num_rows} rows, found {text} = {budget} rows; ask for fewer"
        )
    return budget


def parse_quota(source: str, text: str, budget: Budget) -> tuple[int, Unit]:
    """The most that `source` may have of `budget`, and what it counts: `text` is "50%" of it, or "100" rows.

    A share is rounded down. Raises SelectionError as `check_quota`, and if a share of this budget is nothing at all.
    """
    text = text.strip()
    check_quota(source, text)
    share = _SHARE.fullmatch(text)
    most, unit = (_part(share, budget.amount), budget.unit) if share else (int(text), "rows")
    if most == 0:
        raise SelectionError(
            f"quota of {source!r}: expected at least one row, but {text} of the budget of {budget.amount}"
            f" {budget.unit} is 0 {unit}; {_OR_EXCLUDE}"
        )
    return most, unit


def _above_whole(text: str) -> bool:
    share = _SHARE.fullmatch(text)
    return share is not None and _fraction(share) > 1


def _part(share: re.Match[str], whole: int) -> int:
    return int(_fraction(share) * whole)


def _fraction(share: re.Match[str]) -> Fraction:
    return Fraction(share[1].removesuffix(".")) / 100


def share_budget(budget: int, weights: Sequence[float]) -> list[int]:
    """`budget` rows or tokens dealt in proportion to `weights` (C,) by largest remainder; the sum is exactly `budget`.

    Equal remainders go to the lower index. Weights that are all zero count as equal. The arithmetic is exact
    (rational), so a share that is a whole number stays one.

    Raises SelectionError if there is no weight, or one is negative, NaN or infinite.
    """
    if not len(weights) or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise SelectionError(
            f"weights to share a budget by: expected finite numbers, none below 0, found {list(weights)}"
        )
    exact = [Fraction(float(weight)) for weight in weights]
    total = sum(exact)
    if total == 0:
        exact, total = [Fraction(1)] * len(exact), Fraction(len(exact))
    quotas = [budget * weight / total for weight in exact]
    shares = [int(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda index: (shares[index] - quotas[index], index))
    for index in by_remainder[: budget - sum(shares)]:
        shares[index] += 1
    return shares
