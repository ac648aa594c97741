"""What `g2is demo` prints of what it found: for people, and with --json for programs."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import g2is.cli.demo as command
from g2is.cli.session import Voice, speak
from g2is.demo.comparison import Outcome
from g2is.demo.run import Demo
from g2is.jobs.run_folder import Selection


@pytest.fixture
def found(tmp_path: Path) -> Demo:
    (tmp_path / "selected.jsonl").write_text("{}\n{}\n")
    outcomes = [Outcome("untuned", 0, 2.5, 0.0, 0.0), Outcome("selection", 2, float("nan"), 0.5, 1.25)]
    selection = Selection(tmp_path, np.array([4, 1]), ["e", "b"], [None, None], [0, 0])
    return Demo(selection, Counter(add=3, clock=2), Counter(add=2), ("add",), outcomes)


def test_with_json_it_is_one_object_of_paths_and_counts(
    found: Demo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speak(Voice(as_json=True))
    try:
        command.tell_demo(found, 3.5)
    finally:
        speak(Voice())
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "run": str(tmp_path),
        "num_selected": 2,
        "ids": ["e", "b"],
        "files": [str(tmp_path / "selected.jsonl")],
        "skills": {"add": {"selected": 2, "in_the_pool": 3}, "clock": {"selected": 0, "in_the_pool": 2}},
        "needed": ["add"],
        "outcomes": [
            {"name": "untuned", "num_rows": 0, "loss": 2.5, "exact_match_fraction": 0.0, "seconds": 0.0},
            {"name": "selection", "num_rows": 2, "loss": None, "exact_match_fraction": 0.5, "seconds": 1.25},
        ],
        "seconds": 3.5,
    }


def test_without_it_is_tables(found: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    command.tell_demo(found, 3.5)
    out, _ = capsys.readouterr()
    assert "2 of 5 rows selected." in out
    assert "nothing (untuned)" in out
