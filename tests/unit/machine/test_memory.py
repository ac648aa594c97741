import pytest

from g2is.machine import memory
from g2is.machine.memory import available_memory


def test_the_machine_says_how_much_memory_is_available() -> None:
    assert 2**26 < available_memory() < 2**50


def test_a_group_above_its_limit_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_of_groups", lambda: iter([-(2**30)]))
    assert available_memory() == 0
