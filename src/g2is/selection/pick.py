"""Takes the rows that a selector names, target by target, within budget and limits.

Each target has a budget of costs and takes rows until the next one does not fit, or the selector names none; what is
left goes to the next target. (The walk hands on only what no next row fitted.) Included rows come first. A quota is
full when nothing is left of it, or less than the row named next takes; then its source's rows are closed. With
`duplicate_threshold` a row that is named is refused if it is a near-copy of one that was taken.
"""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from g2is.errors import SelectionError
from g2is.machine.threads import single_threaded_blas
from g2is.methods import SELECTORS, CopySettings, selector_kind
from g2is.progress import Progress
from g2is.selection.copies import Copies
from g2is.selection.limits import Limits, Tally
from g2is.selection.problem import Choice, Problem, Select
from g2is.selection.record import Picks, Role, Step
from g2is.selection.rules import passes_over_opposed
from g2is.selection.shortfall import full_quotas

if TYPE_CHECKING:
    from g2is.config import SelectionConfig


def pick(problems: Sequence[Problem], select: Select, limits: Limits, progress: Progress | None = None) -> Picks:
    """Let `select` choose for each of `problems` in turn; they share one pool, and so one mask of open rows.

    Near-copies are skipped where the selector looks at rows, and there are vectors to tell them by. Raises
    SelectionError if the selector names what is no row of the pool.
    """
    picker = _Picker(problems[0], limits, progress, sum(problem.budget for problem in problems))
    unspent = 0
    shortfalls: list[str] = []  # what is left for these, no later target has spent
    handed_on: list[str] = []
    unanswered: list[str] = []
    for problem in problems:
        before = picker.num_duplicates
        problem.budget += unspent  # before it is asked: what a row is worth may depend on how many there will be
        try:
            with single_threaded_blas:
                unspent, ran_out = picker.spend(problem, select)
        except SelectionError as error:
            if len(problems) == 1:
                raise
            raise SelectionError(f"target {problem.target!r}: {error}") from None
        if ran_out:
            spent = f"{problem.budget - unspent} of {problem.budget} {limits.unit}"
            shortfalls.append(
                f"target {problem.target!r}: {spent}, because the selector {problem.settings.selector} found no further"
                f" row{_left(problem, picker.num_duplicates - before)}{full_quotas(picker.tally)}"
            )
        elif shortfalls:
            handed_on += [f"{told}; what was left of its budget went to the next target" for told in shortfalls]
            shortfalls.clear()
        if silent := _unanswered(problem):
            unanswered.append(f"target {problem.target!r}: {silent}")
    return picker.picks("; ".join(shortfalls) or None, unanswered, handed_on)


def _passes_over_opposed(problem: Problem) -> bool:
    return problem.is_compared and passes_over_opposed(problem.settings)


def _left(problem: Problem, num_duplicates: int) -> str:
    """Why rows are left: how many are near-copies of taken ones, how many oppose the target, and how many the selector
    passes over by a rule of its own.
    """
    num_left, num_opposed = int(problem.open.sum()), 0
    if _passes_over_opposed(problem):
        num_opposed = int((problem.open & problem.opposed).sum())
    told = [f"{num_duplicates} are near-copies of rows that were taken"] if num_duplicates else []
    if num_opposed:
        told.append(f"{num_opposed} that are left oppose every example of it, and only take_opposed would take them")
    if num_left > num_opposed:
        others = "the others" if num_opposed else "those that are left"
        told.append(f"{others} ({num_left - num_opposed}) it passes over by its own rule, such as redundant ones")
    return f": {'; '.join(told)}" if told else ""


def _unanswered(problem: Problem) -> str:
    """With how many examples of the target no row of the pool agrees."""
    if not _passes_over_opposed(problem):
        return ""
    agreeing = np.asarray((problem.similarity > 0).any(axis=0))
    if agreeing.all():
        return ""
    num_examples, num_silent = len(agreeing), int((~agreeing).sum())
    if num_silent < num_examples:
        return f"no row agrees with {num_silent} of its {num_examples} examples"
    return f"no row agrees with any of its {num_examples} examples"


def _looks(settings: "SelectionConfig") -> bool:
    """Whether the selector looks at rows; one of the user's own may."""
    if settings.selector not in SELECTORS:
        return True
    kind = selector_kind(settings.selector)
    return kind.needs(settings.part(kind.settings)) != "nothing"


def _choice(problem: Problem, named: object) -> Choice:
    """What a selector names, which may be the user's own. Raises SelectionError for what is no `Choice` or row."""
    found = (named,) if isinstance(named, Integral) else named
    if not isinstance(found, tuple | list) or not 1 <= len(found) <= len(Choice._fields):
        raise _unexpected(problem, named)
    row, score, served = Choice(*found)
    is_row = isinstance(row, Integral) and not isinstance(row, bool)
    if not is_row or not isinstance(score, Real | None) or not isinstance(served, str | None):
        raise _unexpected(problem, named)
    return Choice(int(row), math.nan if score is None else float(score), served)


def _unexpected(problem: Problem, found: object) -> SelectionError:
    return SelectionError(
        f"selector {problem.settings.selector}: expected it to name rows as g2is.Choice(row, score), one after the"
        f" other, found {str(found)[:80]!r} of type {type(found).__name__}; mend its function"
    )


class _Picker:
    def __init__(self, problem: Problem, limits: Limits, progress: Progress | None, budget: int) -> None:
        self._limits = limits
        self.tally = Tally(limits)
        self._open = problem.open
        self._costs = problem.costs
        self._progress = progress
        self._num_zero_rows = 0 if problem.rows is None else int((~problem.rows.nodes).sum())
        looks = _looks(problem.settings)
        threshold = problem.settings.part(CopySettings).duplicate_threshold if looks else None
        self._copies = None if threshold is None or problem.rows is None else Copies(problem.rows, threshold)
        self._steps: list[Step] = []
        self.num_duplicates = 0
        self._spent = 0
        self._budget = budget + int(self._costs[list(limits.included)].sum())
        for row in limits.included:
            self._take(int(row), None, "included", math.nan)

    def spend(self, problem: Problem, select: Select) -> tuple[int, bool]:
        """Take rows for one target: what is left of its budget, and whether that is because no row was left."""
        left = problem.budget
        if not left:
            return 0, False
        named = select(problem)
        if not isinstance(named, Iterable) or isinstance(named, Mapping | Set):  # whose order says nothing
            raise _unexpected(problem, named)
        for choice in named:
            row, score, served = _choice(problem, choice)
            if not 0 <= row < len(self._open):
                raise SelectionError(
                    f"selector {problem.settings.selector}: expected rows from 0 to {len(self._open) - 1}, found {row}"
                )
            if not self._open[row]:
                continue
            if self._copies is not None and self._copies.is_copy(row):
                self._open[row] = False
                self.num_duplicates += 1
                continue
            if full := self.tally.refuses(row):
                self._open &= ~full.rows
                continue
            cost = int(self._costs[row])
            if cost > left:  # a search among shorter rows would favour short ones
                return left, False
            problem.taken.append(row)
            self._take(row, served or problem.target, "picked", score)
            left -= cost
            if not left:
                return 0, False
        return left, True

    def picks(self, ran_out: str | None, unanswered: Sequence[str], handed_on: Sequence[str]) -> Picks:
        return Picks(
            steps=tuple(self._steps),
            budget=self._budget,
            unit=self._limits.unit,
            spent=self._spent,
            num_zero_rows=self._num_zero_rows,
            num_duplicates=self.num_duplicates,
            num_included=len(self._limits.included),
            full_quotas=tuple(quota.source for quota in self.tally.full),
            ran_out=ran_out,
            unanswered=tuple(unanswered),
            handed_on=tuple(handed_on),
        )

    def _take(self, row: int, target: str | None, role: Role, score: float) -> None:
        self._open[row] = False
        if self._copies is not None:
            self._copies.add(row)
        nan = math.nan
        self._steps.append(Step(row, len(self._steps), target, None, None, role, nan, nan, nan, score))
        self._spent += int(self._costs[row])
        if full := self.tally.add(row):
            self._open &= ~full.rows
        if self._progress is not None:
            self._progress(self._spent, self._budget)


def all_open(num_rows: int) -> np.ndarray:
    """A mask (N,) of open rows: all of them."""
    return np.ones(num_rows, dtype=bool)
