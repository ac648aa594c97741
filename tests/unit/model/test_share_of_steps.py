"""What each of several processes takes of a training's steps."""

import math

import numpy as np
import pytest

from g2is.model.step_order import ShareOfSteps, StepOrder

LENGTHS = np.random.default_rng(0).integers(5, 400, 203).tolist()
FILLER = len(LENGTHS)


@pytest.mark.parametrize(
    ("count", "step_rows", "batch_rows"), [(2, 32, 8), (3, 32, 4), (8, 32, 8), (5, 4, 8), (7, 1, 1)]
)
def test_all_together_take_each_step_s_rows_once_in_as_many_batches(
    count: int, step_rows: int, batch_rows: int
) -> None:
    order = StepOrder(LENGTHS, step_rows, seed=3)
    order.set_epoch(2)
    shares = [ShareOfSteps(order, step_rows, batch_rows, rank, count, FILLER) for rank in range(count)]
    batches = [list(share) for share in shares]
    assert {len(of) for of in batches} == {len(share) for share in shares}
    assert all(0 < len(batch) <= batch_rows for of in batches for batch in of)
    a_step = math.ceil(math.ceil(step_rows / count) / batch_rows)
    expected = list(order)
    for number, start in enumerate(range(0, len(expected), step_rows)):
        place = slice(number * a_step, (number + 1) * a_step)
        rows = [row for of in batches for batch in of[place] for row in batch]
        step = expected[start : start + step_rows]
        assert sorted(row for row in rows if row != FILLER) == sorted(step)


def test_processes_have_rows_of_like_lengths() -> None:
    order = StepOrder(LENGTHS, 32, seed=0)
    longest = [
        [max(LENGTHS[row] for row in batch) for batch in ShareOfSteps(order, 32, 4, rank, 4, FILLER)][:12]
        for rank in range(4)
    ]
    assert max(np.ptp(of_batch) for of_batch in zip(*longest, strict=True)) < 100
