"""Rows that point where a group of the target points, within the subspace that the target spans (GIST)."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from g2is.errors import SelectionError
from g2is.methods import OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import Floats
from g2is.selection.problem import DECIMALS, Choice, Problem
from g2is.selection.selectors.top import descending

_NO_LENGTH = 1e-12  # of a part of a unit row: shorter, it is rounding and has no direction


class GistSettings(Section):
    """Which subspace it is."""

    subspace_variance: float = Field(
        0.95,
        gt=0,
        le=1,
        description="share of the squared length of the target's rows that the subspace holds; its directions are as"
        " few as hold so much",
    )


def gist(problem: Problem) -> Iterator[Choice]:
    """Take rows by descending score. Rows that oppose every example are passed over.

    The subspace is that of the target's leading right singular vectors V (r, k), unscaled. A group of examples is the
    mean of its rows, and a row's score its highest cosine with a group after both were projected on V. Without groups
    all examples are one. Ties go to the row of which more lies in the subspace, then to the lowest: with a single
    direction, as of one example, every score is 1 or -1. Raises SelectionError if each group's rows cancel.
    """
    rows, targets = problem.vectors()
    basis = _subspace(targets, problem.settings.part(GistSettings).subspace_variance)
    means = np.stack([targets[group].mean(axis=0) for group in problem.of_groups])
    directions = _directions(means @ basis.T)
    if not directions.any():
        raise SelectionError(
            f"selector gist: expected a group of target rows with a mean direction, found {len(means)} that cancel; use"
            " less-rr, or other target examples"
        )

    def look(units: Floats) -> Floats:
        within = units @ basis.T
        return np.column_stack([(_directions(within) @ directions.T).max(axis=1), np.linalg.norm(within, axis=1)])

    score, lengths = rows.over_units(np.arange(rows.num_rows), look).round(DECIMALS).T
    return descending(problem, score, lengths)


def _subspace(targets: Floats, share: float) -> Floats:
    """The fewest right singular vectors (r, k) of `targets` (M, k) that hold `share` of their squared length."""
    _, lengths, basis = np.linalg.svd(targets, full_matrices=False)
    held = np.cumsum(lengths**2) / np.sum(lengths**2)
    num = int(np.searchsorted(held, share - _NO_LENGTH)) + 1
    return np.asarray(basis[: min(num, int((lengths > _NO_LENGTH).sum()))])


def _directions(rows: Floats) -> Floats:
    """`rows` (n, r) at unit length; those without length are zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > _NO_LENGTH)


GIST = SelectorKind(
    line="the rows that agree most with a group of the target within the subspace of the target's rows",
    source="Min et al., ICML 2026, arXiv 2602.18584",
    needs=lambda _: "vectors",
    settings=GistSettings,
    shared={OpposedSettings: lambda _: True},
    select=gist,
    score="similarity with the mean of the nearest group of examples, within the subspace of the target's rows",
)
