"""How rows agree and conflict: cosines of all shown rows with the chosen ones and with the target's examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2is.report.tops import Tops, best_of_rows

Floats = NDArray[np.float32]

NEAR_CHOSEN = 3  # chosen rows that every row names
NEAR_ROWS = 6  # rows that every chosen row names, and half as many that it conflicts with
_BINS = np.linspace(-1, 1, 81)


@dataclass(frozen=True, eq=False)
class Trails:
    """The walk's rule of conflicts: a trail takes no row whose cosine with one of its own is below -`tolerance`.

    `of` (m,) is the trail of each of the m chosen rows, in order; -1 for one that is in none, with which no row
    conflicts. Where conflicts `are_shared` a trail minds the rows of all trails, those of earlier targets too.
    """

    tolerance: float
    of: NDArray[np.int64]
    are_shared: bool


@dataclass(frozen=True, eq=False)
class Relations:
    """Of P shown rows, n chosen ones and T examples of all targets; indices are those of the arrays given.

    Of every row: `target` (P,) its nearest example and `target_cosine`; `chosen` (P, 3) the nearest chosen rows and
    `chosen_cosine`; `against` (P,) the chosen row it disagrees with most and `against_cosine`. A row is not near
    itself; where there is none the index is -1.
    Of every chosen row, among the shown ones: `near` (n, 6) and `near_cosine`, `conflicts` (n, 3) and
    `conflict_cosine`, the most opposed first.
    `similarity` (P, G) is the mean cosine with each target's examples, `opposed` (P, G) whether all of a target's are
    below 0; `worth` (P, G) what a row would still be worth to the selector `design`, None elsewhere.
    `refused` (P, G) is the chosen row that a row conflicts with most, where it conflicts in every trail of a target, or
    in any that it minds where conflicts are shared; -1 elsewhere. `refused_cosine` (P, G). None where there are no
    trails.
    `histograms` are counts of cosines in `bins`, by what was compared with what.
    """

    target: NDArray[np.int64]
    target_cosine: Floats
    chosen: NDArray[np.int64]
    chosen_cosine: Floats
    against: NDArray[np.int64]
    against_cosine: Floats
    near: NDArray[np.int64]
    near_cosine: Floats
    conflicts: NDArray[np.int64]
    conflict_cosine: Floats
    similarity: Floats
    opposed: NDArray[np.bool_]
    worth: Floats | None
    refused: NDArray[np.int64] | None
    refused_cosine: Floats | None
    are_shared: bool
    histograms: dict[str, NDArray[np.int64]]
    bins: NDArray[np.float64]


class Relating:
    """Gathers relations block by block, so that the shown rows need never be held at once."""

    def __init__(
        self,
        num_rows: int,
        chosen: Floats,
        chosen_at: NDArray[np.int64],
        targets: Floats,
        group_of: NDArray[np.int64],
        chosen_group: NDArray[np.int64],
        noise: Sequence[float] | None,
        trails: Trails | None = None,
    ) -> None:
        """`chosen` (n, k) unit rows, which are the shown rows `chosen_at` (n,); `targets` (T, k) of groups (T,), of
        which no selector looked at those that are zero.

        `chosen_group` (m,) is the target that each of m chosen rows was taken for, -1: none; the first n of them are
        those compared here. With `noise`, one a group, the worth is computed, that of the selector `design`.
        """
        self._units = np.concatenate([chosen, targets])
        self._num_chosen, self._at = len(chosen), chosen_at
        self._num_groups = int(group_of.max(initial=-1)) + 1
        self._with_direction = targets.any(axis=1)
        self._group_of = np.where(self._with_direction, group_of, -1)
        self._place_of = np.full(num_rows, -1, np.int64)
        self._place_of[chosen_at] = np.arange(len(chosen))
        named = min(NEAR_CHOSEN, len(chosen))
        self._target, self._target_cosine = np.full(num_rows, -1, np.int64), np.zeros(num_rows, np.float32)
        self._chosen = np.full((num_rows, named), -1, np.int64)
        self._chosen_cosine = np.zeros((num_rows, named), np.float32)
        self._against, self._against_cosine = np.full(num_rows, -1, np.int64), np.zeros(num_rows, np.float32)
        self._near = Tops(len(chosen), NEAR_ROWS)
        self._conflicts = Tops(len(chosen), NEAR_ROWS // 2)
        self._similarity = np.zeros((num_rows, self._num_groups), np.float32)
        self._opposed = np.zeros((num_rows, self._num_groups), np.bool_)
        self._worth = None if noise is None else np.zeros((num_rows, self._num_groups), np.float32)
        self._posteriors = [] if noise is None else self._explained_by(chosen, targets, chosen_group, noise)
        self._noise = noise
        self._trails = trails
        self._minded = [] if trails is None else [self._minds(trails, chosen_group, g) for g in range(self._num_groups)]
        self._refused = np.full((num_rows, len(self._minded)), -1, np.int64)
        self._refused_cosine = np.zeros(self._refused.shape, np.float32)
        names = ("pool with its nearest target example", "chosen with its nearest target example", "chosen with chosen")
        self._histograms = {name: np.zeros(len(_BINS) - 1, np.int64) for name in names}

    def _explained_by(
        self, chosen: Floats, targets: Floats, chosen_group: NDArray[np.int64], noise: Sequence[float]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
        """For each group: its chosen rows, the inverse of their covariance, and theirs with its examples through it."""
        found = []
        for group in range(self._num_groups):
            ours = np.asarray(np.flatnonzero(chosen_group[: len(chosen)] == group), np.int64)
            units = chosen[ours].astype(np.float64)
            inverse = np.linalg.inv(units @ units.T + noise[group] * np.eye(len(ours)))
            through = targets[self._group_of == group].astype(np.float64) @ units.T @ inverse
            found.append((ours, np.asarray(inverse, np.float64), np.asarray(through, np.float64)))
        return found

    def _minds(
        self, trails: Trails, chosen_group: NDArray[np.int64], group: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The compared rows (r,) that a target's trails mind, trail by trail, and where each trail begins in them.

        None where a trail has no row that is compared: what it would have taken is not known. Shared trails are one.
        """
        of = trails.of
        minded = (of >= 0) & (chosen_group <= group if trails.are_shared else chosen_group == group)
        compared = np.flatnonzero(minded[: self._num_chosen])
        if trails.are_shared:
            return compared, np.zeros(min(1, len(compared)), np.int64)
        compared = compared[np.argsort(of[compared], kind="stable")]
        named, begins = np.unique(of[compared], return_index=True)
        are_all = len(named) == len(np.unique(of[minded]))
        return (compared, begins) if are_all else (compared[:0], begins[:0])

    def look(self, at: NDArray[np.int64], rows: Floats) -> None:
        """Take in the unit rows (b, k) of the shown rows `at` (b,)."""
        cosines = np.clip(rows @ self._units.T, -1, 1)
        with_chosen, with_targets = cosines[:, : self._num_chosen], cosines[:, self._num_chosen :]
        if self._with_direction.any():
            compared = np.where(self._with_direction, with_targets, -np.inf)
            self._target[at] = compared.argmax(1)
            self._target_cosine[at] = compared.max(1)
        self._gather_groups(at, with_chosen, with_targets)
        ours = self._place_of[at]
        is_chosen = ours >= 0
        self._count("pool with its nearest target example", self._target_cosine[at])
        self._count("chosen with its nearest target example", self._target_cosine[at[is_chosen]])
        if not self._num_chosen:
            return
        self._gather_conflicts(at, with_chosen)
        lowest = with_chosen.argmin(1)
        self._against[at], self._against_cosine[at] = lowest, with_chosen[np.arange(len(at)), lowest]
        others = with_chosen.copy()
        others[is_chosen, ours[is_chosen]] = -np.inf  # no row is near itself
        between = others[is_chosen]
        self._count("chosen with chosen", between[np.isfinite(between)])
        self._chosen[at], self._chosen_cosine[at] = best_of_rows(others, self._chosen.shape[1])
        self._near.add(others.T, at)
        others[is_chosen, ours[is_chosen]] = np.inf  # nor in conflict with itself
        self._conflicts.add(-others.T, at)

    def _gather_groups(self, at: NDArray[np.int64], with_chosen: Floats, with_targets: Floats) -> None:
        for group in range(self._num_groups):
            of_group = with_targets[:, self._group_of == group]
            if not of_group.shape[1]:
                continue
            self._similarity[at, group] = of_group.mean(1)
            self._opposed[at, group] = (of_group < 0).all(1)
            if self._worth is not None and self._noise is not None:
                ours, inverse, through = self._posteriors[group]
                products = with_chosen[:, ours].astype(np.float64)
                left = np.maximum(of_group - products @ through.T, 0)
                variance = 1 - np.einsum("bn,nm,bm->b", products, inverse, products, optimize=True)
                self._worth[at, group] = np.square(left).sum(1) / (np.maximum(variance, 0) + self._noise[group])

    def _gather_conflicts(self, at: NDArray[np.int64], with_chosen: Floats) -> None:
        for group, (minded, begins) in enumerate(self._minded):
            if self._trails is None or not len(minded):
                continue
            cosines = with_chosen[:, minded]
            in_each = np.minimum.reduceat(cosines, begins, axis=1) < -self._trails.tolerance
            self._refused[at, group] = np.where(in_each.all(1), minded[cosines.argmin(1)], -1)
            self._refused_cosine[at, group] = cosines.min(1)

    def _count(self, name: str, cosines: Floats) -> None:
        self._histograms[name] += np.histogram(cosines, _BINS)[0]

    def found(self) -> Relations:
        """What was gathered."""
        near, near_cosine = self._near.found()
        conflicts, against = self._conflicts.found()
        return Relations(
            target=self._target,
            target_cosine=self._target_cosine,
            chosen=self._chosen,
            chosen_cosine=self._chosen_cosine,
            against=self._against,
            against_cosine=self._against_cosine,
            near=near,
            near_cosine=near_cosine,
            conflicts=conflicts,
            conflict_cosine=-against,
            similarity=self._similarity,
            opposed=self._opposed,
            worth=self._worth,
            refused=None if self._trails is None else self._refused,
            refused_cosine=None if self._trails is None else self._refused_cosine,
            are_shared=self._trails is not None and self._trails.are_shared,
            histograms=self._histograms,
            bins=_BINS,
        )
