"""Cosines with rows that a trail will probably take, from one pass over the pool for several.

A pass is bound by reading and converting the pool, so one for many directions costs little more than one for one. For
the walk a direction is a row's unit vector, whatever was taken before it: a vector of cosines serves whenever its row
is taken. Which rows that will be is guessed by walking on among the few nearest the last row, whose cosines with each
other are quickly had. What is taken is decided elsewhere, from exact values, so a wrong guess costs time only.
"""

import math
from dataclasses import dataclass

import numpy as np

from g2is.selection.arrays import Floats, Mask, Rows, Singles
from g2is.selection.rules import Rules
from g2is.selection.similarity import UnitRows

_FEWEST_AHEAD = 2
_FEWEST_WATCHED, _MOST_WATCHED = 64, 1024  # rows among which those that are taken next are guessed


@dataclass(frozen=True)
class Position:
    """Where a trail stands: its last row, S' and the core knowledge K (k,), and what consistency is held against."""

    last: int
    total: Floats
    direction: Floats
    reference: float


class Foresight:
    """Cosines of the rows that a trail can still take ("alive", ascending) with taken rows, several from one pass."""

    def __init__(self, rows: UnitRows) -> None:
        self._rows = rows
        self._kept: dict[int, Singles] = {}  # of the rows alive at the last pass, with each row looked ahead to
        self._place: Rows = np.empty(0, np.intp)  # where those alive now stand among those
        self._num_used = 4

    def forget(self) -> None:
        """Keep no cosines."""
        self._kept = {}

    def keep(self, alive: Mask) -> None:
        """Of the rows alive so far only these are from now on; (n,) bool."""
        if self._kept:
            self._place = self._place[alive]

    def cosines_with(self, row: int) -> Singles | None:
        """Screened cosines of the rows alive (n,) with `row`, if it was looked ahead to."""
        found = self._kept.pop(row, None)
        if found is None:
            return None
        self._num_used += 1
        return found[self._place]

    def look(self, alive: Rows, directions: list[Floats], near: Singles, rules: Rules, position: Position) -> Singles:
        """One pass: screened cosines (c, n) of `alive` (n,) with c `directions` (k,); and with rows to come, for later.

        `near` (n,) says how near each row is to where the trail stands.
        """
        # As many as twice what the last pass was good for: more while guesses are right, fewer while they are not.
        num = min(max(2 * self._num_used, _FEWEST_AHEAD), self._rows.most_ahead - len(directions))
        kept = np.array(list(self._kept), np.intp)
        known: set[int] = set(kept[np.isin(kept, alive)].tolist())
        ahead: list[int] = []
        if num > 0 and len(alive):
            ahead = likely_next(self._rows, rules, position, watched(alive, near), num, known)
        cosines = self._rows.cosines(np.stack([*directions, *(self._rows.unit(row) for row in ahead)]), alive)
        recent = [row for row in self._kept if row in known][-self._rows.most_ahead :]
        self._kept = {row: self._kept[row][self._place] for row in recent}
        self._kept |= dict(zip(ahead, cosines[len(directions) :], strict=True))
        self._place, self._num_used = np.arange(len(alive)), 1
        return cosines[: len(directions)]


def watched(alive: Rows, near: Singles) -> Rows:
    """The few of `alive` (n,) with the highest `near` (n,): the more rows a pass reads, the more are worth watching."""
    num = min(max(math.isqrt(10 * len(alive)), _FEWEST_WATCHED), _MOST_WATCHED)
    return alive if len(alive) <= num else alive[np.argpartition(near, -num)[-num:]]


def likely_next(rows: UnitRows, rules: Rules, position: Position, among: Rows, num: int, known: set[int]) -> list[int]:
    """The next rows that the trail would take if there were only `among` (n,), as many as `num` beside the `known`."""
    units = rows.rough_units(np.append(among, position.last))
    to_core = units @ position.direction.astype(np.float32)
    products = units @ position.total.astype(np.float32)
    aligned, square = position.total @ position.direction, position.total @ position.total
    reference, copy = position.reference, rules.duplicate_threshold
    free = np.append(among != position.last, False)
    place, found = len(among), list[int]()
    cosines = units @ units[place]
    while len(found) < num:
        free &= cosines >= -rules.conflict_tolerance
        if copy is not None:
            free &= cosines < copy
        values = (aligned + to_core) / np.sqrt(np.maximum(square + 2 * products + 1, 1e-6))
        if not rules.signed:
            values = np.abs(values)
        possible = np.flatnonzero(free & (values >= rules.delta * reference))
        if not len(possible):
            break
        place = int(possible[cosines[possible].argmax()])
        free[place] = False
        if rules.reference == "previous" or (rules.reference == "best" and values[place] > reference):
            reference = float(values[place])
        aligned, square = aligned + to_core[place], square + 2 * products[place] + 1
        cosines = units @ units[place]
        products = products + cosines
        if (row := int(among[place])) not in known:
            found.append(row)
    return found
