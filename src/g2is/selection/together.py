"""Several targets as one problem, for a selector that chooses for all of them at once."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from g2is.selection.problem import Problem


def as_one(problems: Sequence[Problem]) -> Problem:
    """All targets as one whose examples are those of all, in their order, and whose budget is the sum of theirs.

    It has similarities and the pool's rows, but no target rows. `served` says whose each example is.
    """
    num_examples = [problem.similarity.shape[1] for problem in problems]
    both = list(zip(problems, num_examples, strict=True))
    return replace(
        problems[0],
        target=", ".join(problem.target for problem in problems),
        budget=sum(problem.budget for problem in problems),
        targets=None,
        given=np.concatenate([problem.similarity for problem in problems], axis=1),
        groups=[group for problem, num in both for group in problem.groups or [None] * num],
        served=[problem.target for problem, num in both for _ in range(num)],
        taken=[],
    )
