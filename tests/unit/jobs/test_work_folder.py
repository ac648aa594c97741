"""The folder that a command works in: lock, command, and what it is bound to."""

import json
from pathlib import Path

import pytest
import yaml

from g2is.config import TrainConfig
from g2is.config.io import parse
from g2is.errors import FingerprintError, InputError, StoreError, TooLittleMemoryError
from g2is.jobs.work_folder import open_work
from g2is.store.digests import damaged_files


def config_of(out: Path) -> TrainConfig:
    config: TrainConfig = parse(TrainConfig, {"data": "d", "out": out, "model": {"name": "m"}}, "a test")
    return config


def test_a_folder_is_held_by_one_process_and_called_by_its_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with open_work(out, config_of(out), "training") as work:
        assert (work.path, work.new) == (out, True)
        with pytest.raises(StoreError, match="out: this training is in use by another g2is process"):
            open_work(out, config_of(out), "training").__enter__()
    with open_work(out, config_of(out), "training") as work:
        assert not work.new
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file: expected a training folder, found a file"):
        open_work(tmp_path / "file", config_of(tmp_path / "file"), "training").__enter__()


def test_a_folder_of_another_command_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("command: evaluate\n")
    with pytest.raises(StoreError, match="found that of another command"):
        open_work(tmp_path, config_of(tmp_path), "training").__enter__()
    assert (tmp_path / "config.yaml").read_text() == "command: evaluate\n"


def test_only_a_new_folder_goes_again_and_not_what_too_little_memory_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for error, left in ((InputError("no"), False), (TooLittleMemoryError("no"), True), (InputError("no"), True)):
        with (
            pytest.raises(type(error)),
            open_work(out, config_of(out), "training") as work,
            work.removed_on_error(),
        ):
            raise error
        assert out.exists() == left


def test_a_bound_folder_says_what_its_work_is_made_from_and_with_what_settings(tmp_path: Path) -> None:
    with open_work(tmp_path, config_of(tmp_path), "training") as work:
        assert not work.is_bound
        with pytest.raises(StoreError, match=r"manifest\.json: expected a JSON file"):
            work.made_from()
        work.bind({"b": 1, "a": None}, config_of(tmp_path))
        assert work.is_bound
        assert work.made_from() == {"b": 1, "a": None}
    assert list(json.loads((tmp_path / "manifest.json").read_text())) == ["b", "a", "digest"]
    assert next(iter(yaml.safe_load((tmp_path / "config.yaml").read_text()).items())) == ("command", "train")
    with open_work(tmp_path, config_of(tmp_path), "training") as work:
        work.check_same(work.made_from(), {"a": None, "b": 1}, "a training")
        with pytest.raises(FingerprintError) as error:
            work.check_same(work.made_from(), {"a": None, "b": 2}, "a training", "wait")
        assert str(error.value) == (
            f"{tmp_path}: expected a training made with the settings asked for, found 1 that differ:\n"
            "  b: there 1, asked for 2\nGo back to these settings, or wait."
        )
        with pytest.raises(FingerprintError, match="or name another --out"):
            work.check_same({}, {"a": 1}, "a training")
        work.unbind()
        assert not work.is_bound


def test_a_kill_before_other_settings_are_written_leaves_a_folder_that_the_same_command_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (config_of(tmp_path).model_copy(update={"data": (name,)}) for name in ("one", "two"))
    with open_work(tmp_path, first, "training") as work:
        work.write_settings(first)
    before = (tmp_path / "config.yaml").read_text()

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as at_once:
        at_once.setattr("g2is.jobs.work_folder.write_text", killed)
        with pytest.raises(SystemExit), open_work(tmp_path, second, "training") as work:
            work.write_settings(second)
    assert (tmp_path / "config.yaml").read_text() == before
    with open_work(tmp_path, second, "training"):
        assert yaml.safe_load((tmp_path / "config.yaml").read_text())["data"] == ["two"]
    assert not damaged_files(tmp_path)
