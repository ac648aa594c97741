"""Odd matrices through every selector: chosen from as a plain float64 program does, or refused by one clear error."""

from pathlib import Path

import pytest

from faults.odd_inputs import METHODS, ODD, PRECONDITIONED, Odd
from faults.odd_numbers import outcome
from g2is.config import SelectionConfig
from g2is.methods import SELECTORS

NAMES = [odd.name for odd in ODD]


@pytest.mark.parametrize("odd", ODD, ids=NAMES)
def test_every_selector_chooses_as_a_plain_program_or_refuses_by_one_error(odd: Odd) -> None:
    for method in (*METHODS, PRECONDITIONED):
        what, found = outcome(odd, method, seed=len(odd.name))
        assert what in ("same", "refused"), f"{method}: {what}: {found}"
        if what == "refused":
            assert "expected" in found or "cancel" in found, f"{method}: {found}"


def test_every_selector_that_looks_at_rows_is_tried() -> None:
    tried = {SelectionConfig(**of).selector for of in METHODS}
    assert tried == {name for name in SELECTORS if name not in ("random", "all")}
    assert SelectionConfig(**PRECONDITIONED).precondition


def test_only_what_cannot_be_chosen_from_is_refused_by_all() -> None:
    for odd in ODD:
        is_chosen_from = any(outcome(odd, method, seed=1)[0] == "same" for method in METHODS)
        assert is_chosen_from or odd.refused, odd.name


@pytest.mark.slow
@pytest.mark.parametrize("place", range(0, len(ODD), 3))
def test_the_command_on_files_does_the_same_and_writes_no_nan(place: int, tmp_path: Path) -> None:
    odd, method = ODD[place], METHODS[place % len(METHODS)]
    what, found = outcome(odd, method, 3, tmp_path)
    assert what in ("same", "refused"), f"{odd.name}, {method}: {what}: {found}"


def test_the_check_above_would_see_a_wrong_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.odd_numbers._by_function", lambda *_: [1, 0])
    assert outcome(ODD[0], METHODS[0], 0)[0] == "differs"
    assert outcome(next(odd for odd in ODD if odd.refused), METHODS[0], 0)[0] == "undetected"
    monkeypatch.setattr("faults.odd_numbers._by_function", lambda *_: 1 // 0)
    assert outcome(ODD[0], METHODS[0], 0)[0] == "traceback"
