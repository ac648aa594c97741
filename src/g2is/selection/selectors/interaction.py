"""Joint choice: what rows bring to the target one by one, less what they bring twice (arXiv 2605.15675).

The target's loss after a step along the selected rows S, expanded to second order, falls by

    f(S) = Σ_x g_x - λ/2 Σ_x Σ_y κ(x, y),

g_x what a row brings to first order and κ(x, y) = x·H·y what a pair of them interacts through the curvature H of the
target's loss. Two rows that bring the same to the same examples bring less together. H is a Gauss-Newton matrix made of
the target's gradients, (1/M) Σ_m t_m t_mᵀ, so nothing but the cosines c(x, m) of rows and examples is needed:

    f(S) = (1/M) Σ_m [s_m - λ/2 s_m²] with s_m = Σ_{x in S} c(x, m).

λ is `curvature` over the number of rows to be selected: the step that they make together has a length of its own,
however many they are.
"""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from g2is.methods import CandidateSettings, OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import GRAIN
from g2is.selection.problem import Choice, Problem


class InteractionSettings(Section):
    """How much bringing the same twice counts."""

    curvature: float = Field(
        1.0,
        ge=0,
        le=1e3,  # beyond it the rounding of float64 would tell rows apart
        description="how long a step the selected rows make together: how much less a row is worth that brings what"
        " others brought; 0: nothing less, which ranks by the mean cosine",
    )


def interaction(problem: Problem) -> Iterator[Choice]:
    """Take, again and again, the open row that raises f(S) most, or lowers it least, until the budget is spent.

    Rows that oppose every example are passed over. Values are float64's; ties go to the lowest row. Rows taken for
    other targets and included rows are not in S. Raises SelectionError if the representation has no vectors.
    """
    problem.vectors()
    similarity = problem.similarity
    num_examples = similarity.shape[1]
    weight = problem.settings.part(InteractionSettings).curvature / _num_rows(problem)
    alone = similarity.mean(axis=1) - weight / 2 * np.einsum("nm,nm->n", similarity, similarity) / num_examples
    brought = np.zeros(num_examples)  # s
    while (candidates := np.flatnonzero(problem.open & ~problem.opposed)).size:
        gains = (alone - weight * (similarity @ brought) / num_examples)[candidates]
        best = int(np.flatnonzero(gains >= gains.max() - GRAIN)[0])
        row = int(candidates[best])
        yield Choice(row, float(gains[best]))
        if problem.taken and problem.taken[-1] == row:  # a quota may have refused it
            brought += similarity[row]


def _num_rows(problem: Problem) -> float:
    """How many rows the budget is for: of one of tokens, by the mean length of the rows that can be taken."""
    costs = problem.costs[problem.open]
    return max(1.0, problem.budget / float(costs.mean())) if costs.size else 1.0


INTERACTION = SelectorKind(
    line="again and again the row that brings the target most, less what it brings again that others brought",
    source="Heo et al., arXiv 2605.15675",
    needs=lambda _: "vectors",
    settings=InteractionSettings,
    shared={OpposedSettings: lambda _: True, CandidateSettings: lambda _: True},
    select=interaction,
    replays=False,  # what a row is worth depends on how many are to be selected
    score="what the row brings beyond the rows taken before: its mean similarity with the examples of the target, less"
    " its interaction with those rows",
    score_unit="cosine, less what was brought before",
)
