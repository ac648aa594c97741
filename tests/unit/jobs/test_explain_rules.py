"""What is told of rows that were not taken: its numbers as the page has them."""

import numpy as np

from g2is.cli.explain import _number
from g2is.jobs.explain_rules import Taken, _nearest_step
from g2is.report.packing import shortened

STEPS = [
    {"id": "a", "order": 0, "trail": 0, "role": "anchor", "target": "t", "similarity_to_previous": None},
    {"id": "b", "order": 1, "trail": 0, "role": "step", "target": "t", "similarity_to_previous": 4.56789e-5},
]


def test_small_numbers_are_told_as_the_page_tells_them() -> None:
    found = _nearest_step(np.array([3.21987e-5, 0.5]), Taken(STEPS), 0.1, set())
    assert found["nearest_step"] == {
        "order": 1, "taken": "b", "score": shortened(3.21987e-5), "its_score": shortened(4.56789e-5),
    }  # fmt: skip


def test_in_the_terminal_they_keep_their_digits_too() -> None:
    assert [_number(value) for value in (3.21987e-5, -0.0123456, 0.5, 12.34567, 0.0, 1234, None)] == [
        "3.22e-05", "-0.01235", "0.5000", "12.3457", "0.0000", "1,234", "none",
    ]  # fmt: skip
