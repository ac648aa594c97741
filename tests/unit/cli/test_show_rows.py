"""The first rows of a selection as a table, in a narrow terminal."""

from dataclasses import dataclass
from typing import Any

import pytest

from g2is.cli import show_rows

_OTHERS = ("1,128", "0.0123", "Given an entity as input, say what it is and why it is so.")


@dataclass
class Found:
    """As `jobs.show_run.FirstRows`."""

    titles: tuple[str, ...] = ("#", "id", "target", "source", "tokens", "score", "text")
    rows: tuple[tuple[str, ...], ...] = tuple(
        (str(number), f"task{number:03}-of-a-long-name", "medicine", "super-natural-instructions", *_OTHERS)
        for number in range(1, 11)
    )
    numbers: tuple[bool, ...] = (True, False, False, False, True, True, False)
    num_rows: int = 10
    told: tuple[str, ...] = ()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_numbers_are_whole_however_narrow_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("g2is.jobs.show_run.rows_of", lambda *_: Found())
    selection: Any = None
    show_rows.show_rows(selection, 10)
    _, title, head, *lines = capsys.readouterr().out.splitlines()
    assert title == "the first 10 of 10 rows"
    assert head.split() == list(Found.titles)
    for number, line in enumerate(lines, start=1):
        assert line.split()[0] == str(number)
        assert " 1,128 " in line
        assert " 0.0123 " in line
        assert len(line) <= max(width, show_rows._NARROWEST)
