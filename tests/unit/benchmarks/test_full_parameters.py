"""What is measured one by one goes on past what does not fit, and is told as it comes."""

from collections.abc import Callable

import pytest

from g2is.errors import ModelError
from speed.full_parameters import ADAM, LORA, PLAIN, TIMES, TWO_SIDED, figures_of, one_by_one


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_what_does_not_fit_is_told_and_the_rest_is_measured() -> None:
    told: list[tuple[str, list[float] | str]] = []
    runs: list[str] = []
    one_by_one(
        {
            LORA: lambda: lambda: runs.append(LORA),
            ADAM: failing(MemoryError("as it is made")),  # type: ignore[dict-item]
            TWO_SIDED: lambda: failing(ModelError("expected memory for one example")),
            PLAIN: lambda: lambda: runs.append(PLAIN),
        },
        lambda name, found: told.append((name, found)),
    )
    assert [name for name, _ in told] == [LORA, ADAM, TWO_SIDED, PLAIN]
    assert runs == [LORA] * (1 + TIMES) + [PLAIN] * (1 + TIMES)
    assert [len(found) for name, found in told if name in (LORA, PLAIN)] == [TIMES, TIMES]
    assert [found for name, found in told if name in (ADAM, TWO_SIDED)] == [
        "did not fit on the device: as it is made",
        "did not fit on the device: expected memory for one example",
    ]


def test_another_error_is_not_taken_for_too_little_memory() -> None:
    with pytest.raises(ZeroDivisionError):
        one_by_one({LORA: lambda: failing(ZeroDivisionError())}, lambda name, found: None)


def test_there_is_a_ratio_of_all_that_was_measured_and_of_no_more() -> None:
    seconds = {LORA: [1.0, 2.0, 2.0], PLAIN: [2.0, 2.0, 2.0]}
    assert figures_of(seconds, "all, factored", "here") == []
    figures = figures_of({**seconds, "all, factored": [3.0, 4.0, 5.0]}, "all, factored", "here")
    assert [(of.what, of.value, of.spread) for of in figures] == [
        ("all linear layers over an adapter: here", 2.5, (2.0, 3.0)),
        ("all linear layers over plain passes to all weights: here", 2.0, (1.5, 2.5)),
    ]
