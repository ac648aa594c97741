"""What binds a run folder to its settings."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from g2is.config import Config
from g2is.config.io import parse
from g2is.errors import FingerprintError
from g2is.jobs.run_folder import open_run
from g2is.progress import Silent


def test_what_a_stage_took_until_it_was_killed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("g2is.jobs.run_folder._KEPT_SECONDS", 0.01)
    with open_run(tmp_path, config_of(tmp_path), Silent()) as folder, folder.stage("walk", "rows") as progress:
        for done in range(3):
            time.sleep(0.02)
            progress(done, 9)
        taken = json.loads((tmp_path / "summary.json").read_text())["sittings"][-1]["seconds"]
        assert 0.02 <= taken["walk"] <= folder.seconds["walk"] + 0.01


TARGETS = {"math": "m.jsonl", "med": ["a.jsonl", "b.jsonl"]}
SELECTION = {"shares": {"math": 2, "med": 1}, "quotas": {"web": "50%"}, "exclude": ["x.txt"]}


def config_of(out: Path, **changes: Any) -> Config:
    values = {"pool": "p.jsonl", "targets": TARGETS, "out": out, "model": {"name": "m"}, "selection": SELECTION}
    config: Config = parse(Config, values | changes, "test")
    return config


@pytest.fixture
def bound(tmp_path: Path) -> Path:
    """A run folder that holds a selection."""
    with open_run(tmp_path, config_of(tmp_path), Silent()):
        (tmp_path / "selection.parquet").touch()
    return tmp_path


def test_the_same_settings_open_it_again(bound: Path) -> None:
    with open_run(bound, config_of(bound), Silent()):
        pass


def test_a_folder_of_before_which_does_not_say_its_command_opens_and_says_it_then(bound: Path) -> None:
    settings = bound / "config.yaml"
    said = settings.read_text()
    assert said.startswith("command: select\n")
    settings.write_text(said.removeprefix("command: select\n"))
    (bound / "digests.json").unlink()
    with open_run(bound, config_of(bound), Silent(), selects=False):
        assert "command" not in settings.read_text()  # a command that does not select leaves them as they are
    with open_run(bound, config_of(bound), Silent()):
        assert settings.read_text() == said


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"targets": {"math": "m.jsonl", "med": "a.jsonl"}}, "targets.med"),
        ({"targets": {"math": "m.jsonl", "med": ["a.jsonl, b.jsonl"]}}, "targets.med"),
        ({"targets": {"med": ["a.jsonl", "b.jsonl"], "math": "m.jsonl"}}, r"targets \(order\)"),
        ({"targets": {"math": "m.jsonl"}, "selection": SELECTION | {"shares": None}}, r"targets.med: .*\(absent\)"),
        ({"selection": SELECTION | {"shares": {"math": 1, "med": 1}}}, "selection.shares.math: there 2.0, asked for 1"),
        ({"selection": SELECTION | {"shares": None}}, r"selection.shares.math: there 2.0, asked for \(absent\)"),
        ({"selection": SELECTION | {"quotas": {"web": "40%"}}}, "selection.quotas.web: there 50%, asked for 40%"),
        ({"selection": SELECTION | {"quotas": {}}}, r"selection.quotas.web: there 50%, asked for \(absent\)"),
        ({"selection": SELECTION | {"exclude": ["x.txt", "y.txt"]}}, "selection.exclude"),
        ({"selection": SELECTION | {"include": ["y.txt"]}}, "selection.include"),
    ],
)
def test_another_target_list_share_or_quota_is_refused_by_name(bound: Path, changes: dict[str, Any], key: str) -> None:
    with (
        pytest.raises(FingerprintError, match=key),
        open_run(bound, config_of(bound, **changes), Silent()),
    ):
        pass
