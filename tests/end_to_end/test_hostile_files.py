"""Every hostile file of the list, through the real command line: one message, at once, and nothing of it runs."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_cases import HOSTILE, RAN
from wrong_input import Place, check_one_message

Command = Callable[..., tuple[int, str, str]]
_SECONDS = 60


@pytest.fixture
def place(sample: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, sample / "pool.jsonl", sample / "target.jsonl", finished)


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    def too_long(*_: Any) -> None:
        raise TimeoutError(f"the command goes on for more than {_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_message(name: str, place: Place, g2is: Command) -> None:
    message = check_one_message(g2is(*HOSTILE[name].command(place)), HOSTILE[name].fragments)
    assert len(message) < 5_000, message[:5_000]
    assert not list(place.here.rglob(RAN))
