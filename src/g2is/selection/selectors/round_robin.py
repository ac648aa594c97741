"""Each target example in turn takes the row most similar to it (LESS-RR, RDS+)."""

from collections.abc import Iterator

import numpy as np

from g2is.methods import SelectorKind
from g2is.selection.problem import Choice, Problem


def round_robin(problem: Problem) -> Iterator[Choice]:
    """Target examples take turns, in the file's order; each takes the open row of highest similarity with it.

    Ties go to the lowest row.
    """
    similarity = problem.similarity
    queues = [iter(np.argsort(-similarity[:, target], kind="stable").tolist()) for target in range(similarity.shape[1])]
    while True:
        nothing_left = True
        for target, queue in enumerate(queues):
            for row in queue:
                if not problem.open[row]:
                    continue
                nothing_left = False
                yield Choice(row, float(similarity[row, target]))
                if problem.taken and problem.taken[-1] == row:  # else it was refused: the example's turn goes on
                    break
        if nothing_left:
            return


ROUND_ROBIN = SelectorKind(
    line="each target example in turn takes the row nearest to it",
    source="round-robin as in arXiv 2503.01807",
    needs=lambda _: "scores",
    select=round_robin,
)
