"""Stages are told by title and kept by id."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from g2is.config import MatrixWalkConfig
from g2is.config.io import parse
from g2is.jobs.run_folder import open_run
from g2is.jobs.stages import OF_REPRESENTING, OF_SELECTING, Stage
from g2is.jobs.trials import seconds_by_stage
from g2is.progress import Progress, Silent


class Titles(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        self.told.append(title)
        yield lambda done, total: None


def test_a_stage_is_told_by_its_title_and_kept_by_its_id(tmp_path: Path) -> None:
    values = {"pool_gradients": "p.npy", "target_gradients": "t.npy", "out": tmp_path}
    titles = Titles()
    for _ in range(2):
        with open_run(tmp_path, parse(MatrixWalkConfig, values, "a test"), titles) as folder:
            with folder.stage("mean hidden states of pool", "tokens", Stage.ROWS_OF_POOL):
                pass
            with folder.stage("check model", "bytes"):
                pass
    assert titles.told == ["mean hidden states of pool", "check model"] * 2
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [list(sitting["seconds"]) for sitting in summary["sittings"]] == [["rows of pool", "check model"]] * 2


def test_seconds_are_added_over_sittings_and_those_of_an_older_summary_count(tmp_path: Path) -> None:
    sittings = [
        {"hidden states of target": 1.0, "hidden states of pool": 2.0, "read rows": 4.0},
        {"embeddings of pool": 8.0, "lengths rows of pool": 16.0, "warm up": 32.0, "gradients of pool": 64.0},
        {"rows of pool": 128.0, "gradients of target": 256.0, "walk": 512.0, "read pool": 1024.0},
    ]
    (tmp_path / "summary.json").write_text(json.dumps({"sittings": [{"seconds": seconds} for seconds in sittings]}))
    taken = seconds_by_stage(tmp_path)
    assert taken == {
        "rows of target": 1.0,
        "rows of pool": 2.0 + 8 + 16 + 128,
        "read rows": 4.0,
        "warm up": 32.0,
        "gradients of pool": 64.0,
        "gradients of target": 256.0,
        "walk": 512.0,
        "read pool": 1024.0,
    }
    assert sum(taken.get(stage, 0.0) for stage in OF_REPRESENTING) == 2 + 8 + 16 + 128 + 32 + 64
    assert sum(taken.get(stage, 0.0) for stage in OF_SELECTING) == 4 + 512


@pytest.mark.parametrize("kind", ["pool", "target"])
@pytest.mark.parametrize("what", ["rows", "gradients"])
def test_what_is_made_of_pool_and_target_is_a_stage(what: str, kind: str) -> None:
    assert Stage(f"{what} of {kind}") == f"{what} of {kind}"
