"""Rows nearest to the target's examples, among which near-copies share a place (TSDS, NeurIPS 2024, arXiv 2410.11303).

Each of the target's M examples moves a mass of 1/M to rows near it. To be near costs less, to be spread over more rows
is more diverse. The best of both has a closed form: of an example's mass a row x takes at most 1/(M·s·ρ(x)), and the
nearest rows take as much as they may. ρ(x) estimates how many near-copies of x there are, itself included: they take
together what one row would. The level s is the least at which the mean over examples of

    d_next·W - Σ_k d_k/ρ_k,  W = Σ_k 1/ρ_k ≤ s,

reaches `spread`, which is C·(1 - α)/α of the publication. k counts the rows that take as much as they may, from the
nearest on, d are their distances from the example, and d_next is that of the row after them.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from g2is.methods import CandidateSettings, OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import GRAIN, Floats, Rows
from g2is.selection.problem import DECIMALS, Choice, Problem
from g2is.selection.selectors.unguided import RandomSettings
from g2is.store.draw import random_numbers

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows

_DENSITY_NEIGHBORS = 1000  # the most rows that count as near-copies of one, as published
_AT_ONCE = 64  # rows whose near-copies are looked for in one pass
_PAIRS = 2**22  # cosines held at a time: 32 MiB
_MASS_DECIMALS = 9  # of sums of up to thousands of parts: what differs by less is rounding, and ties


class KnnSettings(Section):
    """How far an example's mass goes, and how rows are taken by it."""

    spread: float = Field(
        5.0,
        ge=0,
        le=1e6,
        description="how far mass goes beyond each example's nearest row, C (1 - α) / α of the publication: the sum of"
        " how much nearer than the next row the rows are that share an example's mass, its mean over the examples",
    )
    kernel_width: float = Field(
        0.75,
        ge=0,
        le=2,
        description="σ: rows nearer to each other than this (Euclidean, at unit length) share the place of one; 0: each"
        " has a place of its own",
    )
    neighbor_distance: Literal["euclidean", "cosine"] = Field(
        "euclidean", description="how far a row is from an example: of unit vectors, or 1 less their cosine"
    )
    most_neighbors: int = Field(
        5000, ge=2, description="the most rows that an example's mass goes to, and never more than a tenth of the rows"
    )
    take_by: Literal["draw", "largest"] = Field(
        "draw",
        description="draw: rows are drawn with their mass as probability, until there are enough different ones;"
        " largest: those of largest mass are taken",
    )


def knn(problem: Problem) -> Iterator[Choice]:
    """Take rows by the mass that the target's examples move to them, then the others by their nearest example.

    Only rows that can be taken when the target's turn begins get mass, none that opposes every example. Values are
    float64's; ties go to the lowest row. What is drawn the seed and the rows' content decide; of matrices, row number
    and seed. Raises SelectionError if the representation has no vectors.
    """
    pool, _ = problem.vectors()
    settings = problem.settings.part(KnnSettings)
    rows = np.flatnonzero(problem.open & ~problem.opposed)
    if not rows.size:
        return
    similarity = problem.similarity[rows]
    tenth = len(rows) // 10
    num = min(len(rows), max(2, min(settings.most_neighbors, tenth)))
    nearest = np.stack([np.argsort(-column, kind="stable")[:num] for column in similarity.T])
    away = np.maximum(1 - np.take_along_axis(similarity.T, nearest, axis=1), 0)
    distances = away if settings.neighbor_distance == "cosine" else np.sqrt(2 * away)
    density = np.ones(len(rows))
    if settings.kernel_width:
        near = np.unique(nearest)
        most = max(1, min(_DENSITY_NEIGHBORS, tenth))
        density[near] = _density(pool, rows[near], settings.kernel_width, most)
    moved, level = _transported(distances, 1 / density[nearest], settings.spread)
    mass = np.zeros(len(rows))
    np.add.at(mass, nearest, moved)
    mass = mass.round(_MASS_DECIMALS)
    with_mass, without = np.flatnonzero(mass > 0), np.flatnonzero(mass == 0)
    late = -mass[with_mass]
    if settings.take_by == "draw":  # the order in which draws, with replacement, come to each row first
        late = -np.log(_uniform(problem)[rows[with_mass]]) / mass[with_mass]
    first = with_mass[np.argsort(late, kind="stable")]
    rest = without[np.argsort(-similarity[without].max(axis=1), kind="stable")]
    for place in np.concatenate([first, rest]).tolist():
        yield Choice(int(rows[place]), float(mass[place] / (level * len(nearest))))


def _transported(distances: Floats, weights: Floats, spread: float) -> tuple[Floats, float]:
    """What each example moves to each of its neighbours (M, L), as a part of the level, and the level s.

    `distances` (M, L) ascend; `weights` (M, L) are 1/ρ. An example whose neighbours are used up leaves the rest to the
    last of them.
    """
    filled = np.cumsum(weights, axis=1)
    before = filled - weights
    before[:, 1:] = filled[:, :-1]  # to the same bits
    levels = filled[:, :-1]
    if not levels.size:  # one row is all there is
        return np.ones_like(weights), 1.0
    costs = distances[:, 1:] * levels - np.cumsum(distances * weights, axis=1)[:, :-1]
    order = np.argsort(levels, axis=None, kind="stable")
    total = np.cumsum(np.diff(costs, axis=1, prepend=0.0).ravel()[order])
    enough = np.flatnonzero(total >= spread * len(distances) - GRAIN)
    level = float(levels.ravel()[order[enough[0] if enough.size else -1]])
    moved = np.clip(level - before, 0, weights)
    moved[:, -1] = np.maximum(level - before[:, -1], 0)
    return moved, level


def _density(pool: "UnitRows", rows: Rows, width: float, most: int) -> Floats:
    """ρ (n,) of `rows` (n,): over the `most` of them that are nearest to a row, itself first, Σ max(0, 1 - d²/σ²).

    A screened pass finds which rows can count at all; their cosines are float64's.
    """
    density = np.empty(len(rows))
    bar = 1 - width**2 / 2 - pool.margin - GRAIN
    at_once = max(1, min(_AT_ONCE, _PAIRS // len(rows)))
    for low in range(0, len(rows), at_once):
        units = pool.over_units(rows[low : low + at_once], lambda units: units)
        near = rows[(pool.cosines(units, rows) >= bar).any(axis=0)]
        cosines = pool.over_units(near, partial(_products, units)).round(DECIMALS)
        kernel = np.maximum(1 - 2 * (1 - cosines) / width**2, 0)
        if len(kernel) > most:
            kernel = np.partition(kernel, len(kernel) - most, axis=0)[-most:]
        # in order of size, so that a sum does not depend on what else is in the block
        density[low : low + at_once] = np.sort(kernel, axis=0).sum(axis=0)
    return np.maximum(density.round(_MASS_DECIMALS), 1)  # a row is a copy of itself


def _products(directions: Floats, units: Floats) -> Floats:
    return units @ directions.T


def _uniform(problem: Problem) -> Floats:
    """A random number (N,) of each row's own, above 0 and at most 1."""
    seed = problem.settings.part(RandomSettings).seed
    if problem.keys is None:
        return 1 - np.random.default_rng(seed).random(len(problem.open))
    return (random_numbers(problem.keys, seed, "transport") + 0.5) / 2.0**64


KNN = SelectorKind(
    line="rows near to the target's examples, to which these move their mass; near-copies share what one row takes",
    source="Liu et al., NeurIPS 2024, arXiv 2410.11303",
    needs=lambda _: "vectors",
    settings=KnnSettings,
    shared={
        OpposedSettings: lambda _: True,
        CandidateSettings: lambda _: True,
        RandomSettings: lambda settings: settings.take_by == "draw",
    },
    select=knn,
    coarse=True,
    replays=False,  # the mass of a row depends on the rows around it
    score="the part of the target's mass that its examples move to the row",
    score_unit="part of 1",
)
