"""The command that does a folder's work again."""

import shlex
from pathlib import Path

import pytest

from g2is.config.commands import run_again


def test_it_can_be_given_to_a_shell_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "odd dir é'&<b>"
    folder.mkdir()
    monkeypatch.chdir(folder)
    expected = ["g2is", "run", str(folder / "config.yaml"), "--out", f"{folder}-again"]
    assert shlex.split(run_again(Path())) == expected
    assert shlex.split(run_again(folder)) == expected
