"""SEED: the rows of highest influence of which no two are redundant, an independent set of a graph of nearest rows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from g2is.errors import SelectionError
from g2is.methods import OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import GRAIN, MOST_AHEAD, Floats, Rows
from g2is.selection.problem import DECIMALS, Choice, Problem

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows


class SeedSettings(Section):
    """Which rows are redundant."""

    redundant_neighbours: int = Field(20, ge=1, description="nearest rows of a row that can be redundant with it")
    redundant_cosine: float = Field(0.7, gt=0, le=1, description="cosine below which no row is redundant")
    redundant_scale: float = Field(
        0.95,
        ge=0,
        le=1,
        description="of the last of the nearest rows' cosine: so much a nearest row must reach to be redundant",
    )


def seed(problem: Problem) -> Iterator[Choice]:
    """Take rows by descending influence that have no edge with a row taken, until none is left; ties to the lowest.

    Influence is the mean product with a group's examples, of the group where that is highest, over the channels in
    which both the pool's and the target's mean magnitude are above the mean of all channels. Two rows have an edge if
    one is among the nearest of the other, at a cosine of at least max(cosine, scale · that of the last of them).

    Raises SelectionError if no channel stands out in both.
    """
    rows, targets = problem.vectors()
    mask = _channels(rows, targets)
    means = np.stack([targets[group].mean(axis=0) for group in problem.of_groups]) * mask
    every = np.arange(rows.num_rows)
    score = rows.over_units(every, lambda units: units @ means.T).max(axis=1).round(DECIMALS)
    order = [
        row for row in np.argsort(-score, kind="stable").tolist() if problem.open[row] and not problem.opposed[row]
    ]
    graph = _Graph(rows, problem.settings.part(SeedSettings))
    closed: set[int] = set()
    taken: set[int] = set()
    for place, row in enumerate(order):
        if row in closed or not problem.open[row]:
            continue
        following = (order[at] for at in range(place, len(order)))  # no copy of all that follow, for each row
        ahead = (other for other in following if other not in closed and problem.open[other])
        edges = graph.edges(row, ahead)
        if not taken.isdisjoint(edges):
            continue
        yield Choice(row, float(score[row]))
        if problem.taken and problem.taken[-1] == row:  # a quota may have refused it
            taken.add(row)
            closed.update(edges)


def _channels(rows: "UnitRows", targets: Floats) -> Floats:
    """1.0 for channels (k,) in which pool and target both have more than their mean magnitude, else 0.0."""
    of_pool, of_target = np.zeros(rows.k), np.abs(targets).mean(axis=0)

    def add(units: Floats) -> Floats:
        nonlocal of_pool
        of_pool = of_pool + np.abs(units).sum(axis=0)
        return np.empty((len(units), 0))

    rows.over_units(np.arange(rows.num_rows), add)
    # beyond rounding: rows stored as signs have channels of one magnitude, of which none stands out
    mask = (of_pool > of_pool.mean() * (1 + GRAIN)) & (of_target > of_target.mean() * (1 + GRAIN))
    if not mask.any():
        raise SelectionError(
            f"selector seed: expected a channel in which pool and target both stand out, found none of {rows.k} (rows"
            " stored as signs have none); use less-rr, other target examples, or gradients.storage int8 or float16"
        )
    return mask.astype(np.float64)


class _Graph:
    """Edges from a row to those of its nearest that are redundant, made for several rows in one pass over the pool."""

    def __init__(self, rows: "UnitRows", settings: SeedSettings) -> None:
        self._rows, self._settings = rows, settings
        self._kept: dict[int, frozenset[int]] = {}

    def edges(self, row: int, ahead: Iterator[int]) -> frozenset[int]:
        """The redundant ones of the nearest rows of `row`; `ahead` begins with it and names those likely to follow."""
        if row not in self._kept:
            wanted = [other for _, other in zip(range(4 * MOST_AHEAD), ahead, strict=False) if other not in self._kept]
            units = self._rows.over_units(np.array(wanted), lambda units: units)
            for other, unit, screened in zip(wanted, units, self._rows.cosines(units), strict=True):
                self._kept[other] = frozenset(self._nearest(other, unit, screened).tolist())
        return self._kept[row]

    def _nearest(self, row: int, unit: Floats, screened: np.ndarray) -> Rows:
        rows = np.flatnonzero(self._rows.nodes)
        rows = rows[rows != row]
        if not len(rows):
            return rows
        num = min(self._settings.redundant_neighbours, len(rows))
        found = screened[rows]
        rows = rows[found >= np.partition(found, -num)[-num] - 2 * self._rows.margin - GRAIN]
        cosines = self._rows.exact_cosines(rows, unit).round(DECIMALS)
        nearest = np.argsort(-cosines, kind="stable")[:num]
        bar = max(self._settings.redundant_cosine, self._settings.redundant_scale * cosines[nearest[-1]])
        return np.asarray(rows[nearest[cosines[nearest] >= bar - GRAIN]])


SEED = SelectorKind(
    replays=False,  # channels and neighbours are those of the pool
    line="the rows of highest influence of which no two are redundant",
    source="Zhang et al., arXiv 2605.15691",
    needs=lambda _: "vectors",
    settings=SeedSettings,
    shared={OpposedSettings: lambda _: True},
    select=seed,
    score="mean product with the examples of the nearest group, over channels that stand out in pool and target",
    score_unit="part of a cosine, from -1 to 1",
)
