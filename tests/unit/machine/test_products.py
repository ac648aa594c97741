"""A type that this processor is slow in is told of, by what it takes here."""

import pytest
import torch

from g2is.jobs import model_identity
from g2is.jobs.model_identity import say_slow_products
from g2is.machine.products import times_slower
from g2is.progress import Silent

CPU = torch.device("cpu")


class Told(Silent):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def test_float32_is_as_fast_as_itself_and_other_types_are_measured() -> None:
    assert 0.2 < times_slower(torch.float32) < 5
    assert times_slower(torch.bfloat16) > 0.05
    assert times_slower(torch.bfloat16) == times_slower(torch.bfloat16)


@pytest.mark.parametrize(
    ("dtype", "device", "times", "is_told"),
    [
        (torch.bfloat16, CPU, 17.2, True),
        (torch.float16, CPU, 47.0, True),
        (torch.bfloat16, CPU, 0.7, False),
        (torch.float32, CPU, 17.2, False),
        (torch.bfloat16, torch.device("meta"), 17.2, False),
    ],
)
def test_only_a_slow_type_on_a_cpu_is_told(
    dtype: torch.dtype, device: torch.device, times: float, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_identity, "times_slower", lambda _: times)
    reporter = Told()
    say_slow_products(dtype, device, reporter)
    name = str(dtype).removeprefix("torch.")
    told = f"model.dtype: this CPU takes about {times:.0f} times as long to multiply in {name} as in float32"
    assert [text.startswith(told) for text in reporter.notices] == [True] * is_told
