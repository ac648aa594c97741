"""The rows that score best: LESS, "w/o graph", sentence embeddings, BM25."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from g2is.selection.problem import Choice, Problem
from g2is.selection.scores import core_scores


def top(problem: Problem) -> Iterator[Choice]:
    """Take rows by descending score; ties go to the lowest row.

    `score: target` is LESS's: the mean similarity with a group's target examples, of the group where that is highest.
    Without groups all examples are one. `score: core` is the core knowledge score (`scores.py`).
    """
    score = core_score(problem) if problem.settings.score == "core" else group_score(problem)
    for row in np.argsort(-score, kind="stable").tolist():
        yield Choice(row, float(score[row]))


def group_score(problem: Problem) -> NDArray[np.float64]:
    """(N,) the highest, over groups of target examples, of the mean similarity with the group's examples."""
    similarity = problem.similarity
    groups = np.array([group or "" for group in problem.groups] or [""] * similarity.shape[1])
    means = [similarity[:, groups == group].mean(axis=1) for group in sorted(set(groups.tolist()))]
    return np.stack(means).max(axis=0)


def core_score(problem: Problem) -> NDArray[np.float64]:
    """(N,) the core knowledge score; rows without a direction come last."""
    rows, _ = problem.vectors()
    return np.nan_to_num(core_scores(rows, problem.core)[1], nan=-np.inf).round(12)
