"""Several targets at once, each served as well as the others (BIDS, arXiv 2501.12147).

Gradients of one task may be like all rows of the pool more than those of another, so that by cosine the one would get
all. BIDS first makes each target example's cosines with the pool's rows comparable: their mean becomes 0 and their
standard deviation 1. Then each step takes the row that does most, for any example, beyond what the rows taken do for it
on the mean. The example that has been served least is served next, unless a row does far more for another.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from g2is.methods import OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import GRAIN, Floats, Mask
from g2is.selection.problem import DECIMALS, Choice, Problem


class BidsSettings(Section):
    """What is served."""

    balance: Literal["example", "target"] = Field(
        "example",
        description="what is served in equal measure; example: each example of each target, as published; target: each"
        " target as a whole, or each of its groups if it has any",
    )


def bids(problem: Problem) -> Iterator[Choice]:
    """Take, again and again, the open row of highest score for anything served, less its mean over the rows taken.

    Scores are standardised over the rows that can be taken at the beginning. A row is not taken for an example that it
    opposes, nor for a target or group all of whose examples it opposes. Ties go to the lowest row. Included rows serve
    nothing. `problem` holds the examples of all targets (`selection/together.py`); each choice names the target it is
    for.
    """
    scores, allowed, names = _served(problem)
    lists = []
    for column, mask in zip(scores.T, allowed.T, strict=True):
        order = np.argsort(-column, kind="stable")
        lists.append(order[mask[order]])
    places = [0] * len(lists)
    total, num_taken = np.zeros(len(lists)), 0
    while True:
        found = []
        for column, rows in enumerate(lists):
            while places[column] < len(rows) and not problem.open[rows[places[column]]]:
                places[column] += 1
            if places[column] < len(rows):
                row = int(rows[places[column]])
                found.append((float(scores[row, column] - total[column] / max(num_taken, 1)), row, column))
        if not found:
            return
        best = max(gain for gain, _, _ in found)
        row, column, gain = min((row, column, gain) for gain, row, column in found if gain >= best - GRAIN)
        yield Choice(row, gain, names[column])
        if problem.taken and problem.taken[-1] == row:  # a quota may have refused it
            total += scores[row]
            num_taken += 1


def _served(problem: Problem) -> tuple[Floats, Mask, list[str | None]]:
    """What is served, C columns: the scores (N, C) of all rows, which of them may be taken for it, and whose it is."""
    similarity, usable = problem.similarity, problem.open.copy()
    of: list[str | None] = [*problem.served] or [None] * similarity.shape[1]
    scores = _standard(similarity, usable)
    opposes = similarity < 0
    if problem.settings.part(BidsSettings).balance == "target":
        groups = problem.groups or [None] * len(of)
        keys = list(zip(of, (group or "" for group in groups), strict=True))
        columns = [[at for at, other in enumerate(keys) if other == key] for key in dict.fromkeys(keys)]
        scores = _standard(np.stack([scores[:, ours].mean(axis=1) for ours in columns], axis=1), usable)
        opposes = np.stack([opposes[:, ours].all(axis=1) for ours in columns], axis=1)
        of = [of[ours[0]] for ours in columns]
    if problem.settings.part(OpposedSettings).take_opposed:
        opposes = np.zeros_like(opposes)
    return scores, ~opposes, of


def _standard(scores: Floats, usable: Mask) -> Floats:
    """Each column with mean 0 and standard deviation 1 over the `usable` rows (N,); one that says nothing, zeros."""
    if not usable.any():
        return np.zeros_like(scores)
    mean, deviation = scores[usable].mean(axis=0), scores[usable].std(axis=0)
    says = deviation > GRAIN
    return np.where(says, (scores - mean) / np.where(says, deviation, 1.0), 0.0).round(DECIMALS)


BIDS = SelectorKind(
    line="all targets at once: again and again the row that does most for the example served least so far",
    source="Dai et al., arXiv 2501.12147",
    needs=lambda _: "scores",
    settings=BidsSettings,
    shared={OpposedSettings: lambda _: True},
    select=bids,
    together=True,
    replays=False,  # scores are standardised over the pool
    score="standardised similarity with the example that the row was taken for, less its mean over the rows taken"
    " before",
    score_unit="standard deviations of that example's similarities with the pool's rows",
)
