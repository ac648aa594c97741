"""What binds a walk beside its own rules: what rows cost, rows that are in anyway, quotas of sources.

A budget is one of costs. Every row costs 1 where the budget counts rows, and its number of tokens where it counts
tokens. Quotas count the one or the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2is.errors import SelectionError
from g2is.selection.arrays import Mask
from g2is.selection.budget import Unit


@dataclass(frozen=True, eq=False)
class Quota:
    """At most `most` rows, or tokens, of the selection come from `source`, whose rows are `rows` (N,) bool."""

    source: str
    rows: Mask
    most: int
    unit: Unit = "rows"


@dataclass(frozen=True, eq=False)
class Limits:
    """What binds a walk over N rows.

    num_tokens  (N,) int, each at least 1: the budget is one of tokens; None: it is one of rows
    included    rows that are selected before the walk begins, in this order
    quotas      one for each source that has any
    """

    num_tokens: NDArray[np.integer] | None = None
    included: Sequence[int] = ()
    quotas: Sequence[Quota] = ()

    @property
    def unit(self) -> Unit:
        """What the budget counts."""
        return "rows" if self.num_tokens is None else "tokens"

    def costs(self, num_rows: int) -> NDArray[np.int64]:
        """What each row takes from the budget, (N,)."""
        return np.ones(num_rows, np.int64) if self.num_tokens is None else self.num_tokens.astype(np.int64)

    def check(self, num_rows: int) -> None:
        """Raise SelectionError unless the limits fit a pool of `num_rows` and the included rows fit the quotas."""
        tokens = self.num_tokens
        if tokens is not None and (not _is_of_rows(tokens, num_rows, "iu") or tokens.min() < 1):
            raise SelectionError(
                f"tokens of rows: expected {num_rows} whole numbers from 1 on, one for each row of the pool, found"
                f" {_described(tokens)}"
            )
        included = np.array(self.included) if len(self.included) else np.zeros(0, np.int64)
        if included.dtype.kind not in "iu":
            raise SelectionError(f"included rows: expected numbers of rows, found {_described(included)}")
        if len(np.unique(included)) != len(included) or ((included < 0) | (included >= num_rows)).any():
            raise SelectionError(f"included rows: expected different ones from 0 to {num_rows - 1}, found others")
        for quota in self.quotas:
            if not _is_of_rows(quota.rows, num_rows, "b"):
                raise SelectionError(
                    f"quota of {quota.source!r}: expected {num_rows} booleans, one for each row of the pool, found"
                    f" {_described(quota.rows)}"
                )
            if quota.unit == "tokens" and tokens is None:
                raise SelectionError(
                    f"quota of {quota.source!r}: expected one of rows, as the budget, found one of tokens"
                )
            ours = included[quota.rows[included]] if len(included) else included
            taken = int(tokens[ours].sum()) if quota.unit == "tokens" and tokens is not None else len(ours)
            if taken > quota.most:
                raise SelectionError(
                    f"quota of {quota.source!r}: expected at most {quota.most} {quota.unit}, found {taken} in the rows"
                    " to include; raise the quota, or include fewer"
                )


def _is_of_rows(values: object, num_rows: int, kinds: str) -> bool:
    """Whether `values` is an array of a number for each row, of a dtype among `kinds`."""
    return isinstance(values, np.ndarray) and values.shape == (num_rows,) and values.dtype.kind in kinds


def _described(values: object) -> str:
    if isinstance(values, np.ndarray):
        return f"shape {values.shape}, dtype {values.dtype}"
    return f"a {type(values).__name__}; give np.asarray of it"


class Tally:
    """How much of each quota is left. A quota is full when nothing is left, or less than the row chosen next takes."""

    def __init__(self, limits: Limits) -> None:
        self._quotas = limits.quotas
        self._num_tokens = limits.num_tokens
        self._left = [quota.most for quota in limits.quotas]
        self._full: list[Quota] = []

    @property
    def full(self) -> Sequence[Quota]:
        """The quotas that are full, in the order in which they were."""
        return self._full

    def refuses(self, row: int) -> Quota | None:
        """The quota that has too little left for `row`: it is full from now on."""
        for index, quota in enumerate(self._quotas):
            if quota.rows[row] and self._takes(quota, row) > self._left[index]:
                self._full.append(quota)
                return quota
        return None

    def add(self, row: int) -> Quota | None:
        """Count `row`; the quota that is full with it."""
        for index, quota in enumerate(self._quotas):
            if quota.rows[row]:
                self._left[index] -= self._takes(quota, row)
                if self._left[index] == 0:
                    self._full.append(quota)
                    return quota
        return None

    def _takes(self, quota: Quota, row: int) -> int:
        return 1 if quota.unit == "rows" or self._num_tokens is None else int(self._num_tokens[row])
