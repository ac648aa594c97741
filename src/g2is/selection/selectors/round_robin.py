"""Each target example in turn takes the row most similar to it (LESS-RR, RDS+)."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from g2is.methods import OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import Floats
from g2is.selection.problem import Choice, Problem

_SORTED_AT_FIRST = 1024  # rows of each example: of a million, most are never asked for


class RoundRobinSettings(Section):
    """What a turn is."""

    if_taken: Literal["next-row", "lose-turn"] = Field(
        "next-row",
        description="a target example whose nearest row left was taken by another one before: next-row: goes on to its"
        " next; lose-turn: takes none in this round, as the released code of RDS+",
    )


def round_robin(problem: Problem) -> Iterator[Choice]:
    """Target examples take turns, in the file's order; each takes the open row of highest similarity with it.

    Ties go to the lowest row. With `if_taken: lose-turn` an example strikes one row off its list in each round, taken
    by another of this target or not; a row that is closed for another reason costs no turn. Rows that oppose an example
    are not on its list.
    """
    similarity = problem.similarity
    loses_turn = problem.settings.part(RoundRobinSettings).if_taken == "lose-turn"
    takes_opposed = problem.settings.part(OpposedSettings).take_opposed
    queues = [_nearest(column, -np.inf if takes_opposed else 0.0) for column in similarity.T]
    taken: set[int] = set()
    while True:
        nothing_left = True
        for target, queue in enumerate(queues):
            for row in queue:
                if loses_turn and row in taken:
                    nothing_left = False
                    break
                if not problem.open[row]:
                    continue
                nothing_left = False
                yield Choice(row, float(similarity[row, target]))
                if problem.taken and problem.taken[-1] == row:  # else it was refused: the example's turn goes on
                    taken.add(row)
                    break
        if nothing_left:
            return


def _nearest(similarity: Floats, least: float) -> Iterator[int]:
    """Rows by descending similarity (N,) down to `least`, ties by number; sorted a part at a time, as asked for."""
    left, size = np.flatnonzero(similarity >= least), _SORTED_AT_FIRST
    while num := min(size, len(left)):
        values = similarity[left]
        is_next = values >= np.partition(values, -num)[-num]
        yield from left[is_next][np.argsort(-values[is_next], kind="stable")].tolist()
        left, size = left[~is_next], 2 * size


ROUND_ROBIN = SelectorKind(
    line="each target example in turn takes the row nearest to it",
    source="round-robin as in arXiv 2503.01807",
    needs=lambda _: "scores",
    settings=RoundRobinSettings,
    shared={OpposedSettings: lambda _: True},
    select=round_robin,
    score="similarity with the target example whose turn it was",
)
