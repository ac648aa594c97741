"""Every wrong input we could think of, through the real command line: one message, exit code 2, nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
from wrong_files import FILES
from wrong_folders import FOLDERS, MATRICES
from wrong_settings import BUDGETS, COMMAND_LINE, MODELS, TARGETS
from wrong_input import Case, Place, check_one_message, listing

Command = Callable[..., tuple[int, str, str]]
CATALOGUE: dict[str, Case] = {**FILES, **COMMAND_LINE, **BUDGETS, **TARGETS, **MODELS, **MATRICES, **FOLDERS}


@pytest.fixture
def place(sample: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("COLUMNS", "1000")  # notices stay on their line
    return Place(tmp_path, sample / "pool.jsonl", sample / "target.jsonl", finished)


@pytest.mark.parametrize("name", CATALOGUE)
def test_wrong_input_is_refused_in_one_message_and_leaves_everything_as_it_was(
    name: str, place: Place, g2is: Command
) -> None:
    wrong = CATALOGUE[name]
    command = wrong.command(place)
    folders = (place.here, place.finished, place.pool.parent)
    before = listing(*folders)
    outcome = g2is(*command)
    message = check_one_message(outcome, wrong.fragments)
    import os
    if os.environ.get("SHOW"):
        open(os.environ["SHOW"], "a").write(f"## {name}\n{message}\n")
    assert listing(*folders) == before
