"""The rows that score best: LESS, "w/o graph", sentence embeddings, BM25."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from g2is.methods import OpposedSettings, Section, SelectorKind
from g2is.selection.core import CoreSettings
from g2is.selection.problem import DECIMALS, Choice, Problem


class TopSettings(Section):
    """What rows are ranked by."""

    score: Literal["target", "core"] = Field(
        "target",
        description="what rows are ranked by; target: the mean similarity with the target's examples (of their nearest"
        " group); core: core knowledge score",
    )


def top(problem: Problem) -> Iterator[Choice]:
    """Take rows by descending score; ties go to the lowest row.

    `score: target` is LESS's: the mean similarity with a group's target examples, of the group where that is highest.
    Without groups all examples are one. `score: core` is the core knowledge score (`scores.py`). Rows that oppose every
    example are passed over.
    """
    score = core_score(problem) if problem.settings.part(TopSettings).score == "core" else group_score(problem)
    return descending(problem, score)


def descending(
    problem: Problem, score: NDArray[np.float64], then: NDArray[np.float64] | None = None
) -> Iterator[Choice]:
    """Rows by descending `score` (N,), then `then` (N,), then by number; without those that oppose every example."""
    for row in np.lexsort([-score] if then is None else [-then, -score]).tolist():
        if not problem.opposed[row]:
            yield Choice(row, float(score[row]))


def group_score(problem: Problem) -> NDArray[np.float64]:
    """(N,) the highest, over groups of target examples, of the mean similarity with the group's examples."""
    similarity = problem.similarity  # which refuses targets that have no row
    means = [similarity[:, group].mean(axis=1) for group in problem.of_groups]
    return np.stack(means).max(axis=0).round(DECIMALS)  # where examples cancel, what is left of a mean is rounding


def core_score(problem: Problem) -> NDArray[np.float64]:
    """(N,) the core knowledge score; rows without a direction come last."""
    from g2is.selection.scores import core_scores  # here, because it imports torch

    rows, _ = problem.vectors()
    return np.nan_to_num(core_scores(rows, problem.core)[1], nan=-np.inf).round(DECIMALS)


TOP = SelectorKind(
    line="the rows of highest score",
    source="Xia et al., ICML 2024, arXiv 2402.04333",
    needs=lambda settings: "vectors" if settings.score == "core" else "scores",
    settings=TopSettings,
    shared={CoreSettings: lambda settings: settings.score == "core", OpposedSettings: lambda _: True},
    select=top,
    score="mean similarity with the examples of the target, of the group of them where it is highest;"
    " with selection.score core, similarity with its components, each counting by its variance",
)
