"""How many pool rows to select, and how many of them each component gets (method.md step 6)."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from g2is.errors import SelectionError

_SHARE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*%")
_COUNT = re.compile(r"[0-9]+")


def parse_budget(text: str, num_rows: int) -> int:
    """The number of rows that `text` ("1%", "0.5%", "500") asks for, of a pool of `num_rows`.

    A share is rounded down, as the authors' `int(N · fraction)` does, but in exact arithmetic: 7 % of 100 rows is 7
    rows and 29 % is 29, where floats give 28.

    Raises SelectionError if `text` is neither form, or means no row at all or more rows than the pool has.
    """
    text = text.strip()
    share = _SHARE.fullmatch(text)
    if share:
        budget = int(Fraction(share[1].removesuffix(".")) / 100 * num_rows)
    elif _COUNT.fullmatch(text):
        budget = int(text)
    else:
        raise SelectionError(
            f"budget: expected a share of the pool such as '1%' or a number of rows such as '500', found {text!r}"
        )
    if budget == 0:
        least = f"; of {num_rows} rows, one row is {100 / num_rows:.3g}%" if share and num_rows else ""
        raise SelectionError(f"budget: expected at least one row, but {text} of a pool of {num_rows} rows is 0{least}")
    if budget > num_rows:
        raise SelectionError(
            f"budget: expected at most the pool's {num_rows} rows, found {text} = {budget} rows; ask for fewer"
        )
    return budget


def share_budget(budget: int, weights: Sequence[float]) -> list[int]:
    """`budget` rows dealt in proportion to `weights` (C,) by largest remainder; the sum is exactly `budget`.

    Equal remainders go to the lower index. Weights that are all zero count as equal. The arithmetic is exact
    (rational), so a share that is a whole number of rows stays one.

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
