"""The best of some rows by exact value, computing as few exact values as the screen allows."""

from collections.abc import Callable

import numpy as np

from g2is.selection.arrays import GRAIN, Floats, Mask, Rows

Judge = Callable[[Rows], tuple[Floats, Mask]]
Admit = Callable[[int], bool]

_NONE_YET = -np.inf


def choose_best(
    candidates: Rows, screened: Floats, margin: float, judge: Judge, admit: Admit | None = None
) -> int | None:
    """The candidate of highest exact value among those that qualify; None if none does.

    `candidates` (n,) are rows in ascending order, `screened` (n,) their approximate values, each within `margin` of the
    exact one; `judge` gives for some rows the exact values and whether they qualify. What costs more to find out,
    `admit` says, and it is asked only about a row that would be chosen otherwise. Exact values within GRAIN of the best
    tie, and the lowest row wins.
    """
    exact = np.full(len(candidates), _NONE_YET)
    unjudged = np.ones(len(candidates), dtype=bool)
    admitted: set[int] = set()  # places

    def is_admitted(place: int) -> bool:
        if place not in admitted:
            if admit is not None and not admit(int(candidates[place])):
                exact[place] = _NONE_YET
                return False
            admitted.add(place)
        return True

    best = _NONE_YET
    width = 1
    while unjudged.any():
        if best == _NONE_YET:
            waiting = screened[unjudged]
            width_here = min(width, len(waiting))
            bar = np.partition(waiting, len(waiting) - width_here)[len(waiting) - width_here] - 2 * margin
            width *= 4  # where the consistency rule refuses row after row, look at more of them at once
        else:
            bar = best - margin - GRAIN
        wanted = np.flatnonzero(unjudged & (screened >= bar))
        if not len(wanted):
            break
        values, valid = judge(candidates[wanted])
        exact[wanted] = np.where(valid, values, _NONE_YET)
        unjudged[wanted] = False
        while (best := exact.max()) > _NONE_YET and not is_admitted(int(exact.argmax())):
            pass  # a row that is not admitted has no value any more
    if best == _NONE_YET:
        return None
    return next(int(candidates[place]) for place in np.flatnonzero(exact >= best - GRAIN) if is_admitted(int(place)))


def choose_first(
    candidates: Rows, qualifies: Callable[[Rows], Mask], admit: Admit | None = None, at_once: int = 32
) -> int | None:
    """The first of `candidates` (n,), in their order, that qualifies and is admitted; None if none is."""
    for low in range(0, len(candidates), at_once):
        some = candidates[low : low + at_once]
        for row in some[qualifies(some)].tolist():
            if admit is None or admit(row):
                return int(row)
    return None
