"""A model or dataset of a hub is written into config.yaml by its commit: a replay takes the same, or says it cannot.

There is no hub here: a cache laid out like the hub's stands where an earlier fetch would have left one.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file
from small_run import MODEL, SMALL, selected_ids, set_flags

FIRST, SECOND = "a" * 40, "b" * 40
HUB_ROWS = "hf:org/rows"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HF_HOME with two commits of the model org/tiny, main at the first."""
    home = tmp_path_factory.mktemp("hf")
    place = home / "hub/models--org--tiny"
    for commit in (FIRST, SECOND):
        shutil.copytree(MODEL, place / "snapshots" / commit)
    weights = load_file(MODEL / "model.safetensors")
    weights["model.norm.weight"] *= 2
    save_file(weights, place / "snapshots" / SECOND / "model.safetensors", metadata={"format": "pt"})
    (place / "refs").mkdir()
    (place / "refs/main").write_text(FIRST)
    return home


def g2is(home: Path, *arguments: object) -> tuple[int, str]:
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "COLUMNS": "1000"}
    command = [sys.executable, "-m", "g2is", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stderr


def select(sample: Path, out: Path, *flags: object) -> list[object]:
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", "org/tiny", "--out", out]
    return ["select", *files, "--budget", "10%", *set_flags(SMALL), *flags]


def revision(run: Path) -> object:
    return yaml.safe_load((run / "config.yaml").read_text())["model"]["revision"]


@pytest.mark.slow
@pytest.mark.long
def test_a_run_takes_the_same_commit_when_main_has_moved_on(home: Path, sample: Path, tmp_path: Path) -> None:
    code, err = g2is(home, *select(sample, tmp_path / "run"))
    assert code == 0, err
    assert revision(tmp_path / "run") == FIRST
    main = home / "hub/models--org--tiny/refs/main"
    main.write_text(SECOND)
    try:
        code, err = g2is(home, "run", tmp_path / "run/config.yaml", "--out", tmp_path / "again")
        assert code == 0, err
        assert "warm up" not in err  # the store's rows are those of the same weights
        assert selected_ids(tmp_path / "again") == selected_ids(tmp_path / "run")
        # the command as it was means the newer commit now, which is another run
        code, err = g2is(home, *select(sample, tmp_path / "run"))
        assert code == 2
        assert f"model.revision: there {FIRST}, asked for {SECOND}" in err
    finally:
        main.write_text(FIRST)


def test_a_commit_that_is_not_to_be_had_is_one_message(home: Path, sample: Path, tmp_path: Path) -> None:
    code, err = g2is(home, *select(sample, tmp_path / "run", "--set", f"model.revision={'c' * 40}"))
    assert code == 2
    assert "Traceback" not in err
    assert f"the hub does not give its revision {'c' * 40}" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.long
@pytest.mark.slow
def test_rows_of_a_hub_dataset_are_named_by_their_commit(home: Path, sample: Path, tmp_path: Path) -> None:
    import datasets

    rows = [json.loads(line) for line in (sample / "pool.jsonl").read_text().splitlines()]
    kept = datasets.Dataset.from_list(rows)
    place = home / "datasets/org___rows/default/0.0.0" / FIRST
    place.mkdir(parents=True)
    kept.save_to_disk(str(tmp_path / "kept"))
    shutil.copy(next((tmp_path / "kept").glob("*.arrow")), place / "rows-train.arrow")
    split = {"name": "train", "num_bytes": 1, "num_examples": len(rows), "dataset_name": "rows"}
    info = json.loads((tmp_path / "kept/dataset_info.json").read_text())
    info |= {"builder_name": "json", "dataset_name": "rows", "config_name": "default", "splits": {"train": split}}
    info |= {"version": {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0}}
    (place / "dataset_info.json").write_text(json.dumps(info))
    refs = home / "hub/datasets--org--rows/refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(FIRST)

    selecting = select(sample, tmp_path / "run")
    selecting[1] = f"{HUB_ROWS}:train"
    code, err = g2is(home, *selecting)
    assert code == 0, err
    pool = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["pool"]
    assert pool == [f"{HUB_ROWS}@{FIRST}:train"]
    (refs / "main").write_text(SECOND)
    code, err = g2is(home, "run", tmp_path / "run/config.yaml", "--out", tmp_path / "again")
    assert code == 0, err
    assert selected_ids(tmp_path / "again") == selected_ids(tmp_path / "run")
    selecting[1] = f"{HUB_ROWS}@{'d' * 40}:train"
    code, err = g2is(home, *selecting[:6], tmp_path / "other")
    assert code == 2
    assert f"expected the dataset's commit {'d' * 40}, found that this machine holds {FIRST}" in err
    assert "Traceback" not in err
