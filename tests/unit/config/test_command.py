"""Which command a file of settings is of: by its field, and of older files by their settings."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from g2is.config import Config, EvaluateConfig, MatrixWalkConfig, TrainConfig
from g2is.config.commands import COMMANDS, check_command, command_in, command_of, settings_in, updated
from g2is.config.compare import CompareConfig
from g2is.config.io import dump, load, parse
from g2is.config.selection import SelectionConfig
from g2is.errors import ConfigError, StoreError

MODEL = {"name": "m"}
REQUIRED: dict[str, dict[str, Any]] = {
    "select": {"pool": "p", "target": "t", "out": "o", "model": MODEL},
    "walk": {"pool_gradients": "p.npy", "target_gradients": "t.npy", "out": "o"},
    "compare": {"pool": "p", "targets": "t", "tests": "s", "out": "o", "model": MODEL, "methods": "less"},
    "train": {"data": "d", "out": "o", "model": MODEL},
    "evaluate": {"evaluation": {"tasks": ["mmlu"]}, "out": "o", "model": MODEL},
}


def dumped(command: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(dump(parse(COMMANDS[command], REQUIRED[command], "a test")))
    return values


def test_every_command_that_keeps_its_settings_has_a_name() -> None:
    assert {
        "select": Config,
        "walk": MatrixWalkConfig,
        "compare": CompareConfig,
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
    } == COMMANDS
    assert REQUIRED.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_says_its_command_first_and_is_read_back_the_same(command: str) -> None:
    values = dumped(command)
    assert next(iter(values.items())) == ("command", command)
    assert command_of(values, "x") == command
    config = parse(COMMANDS[command], values, "x")
    assert config == parse(COMMANDS[command], REQUIRED[command], "x")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_older_file_that_does_not_say_it_is_of_the_same_command(command: str) -> None:
    values = dumped(command)
    del values["command"]
    assert command_of(values, "x") == command
    assert parse(COMMANDS[command], values, "x") == parse(COMMANDS[command], REQUIRED[command], "x")


def test_what_a_file_says_counts_more_than_its_settings() -> None:
    assert command_of({"command": "evaluate", "data": "d"}, "x") == "evaluate"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("report", "found 'report'; use the version of g2is that wrote the file"),
        ("selct", "found 'selct'; did you mean select?"),
        (None, "found None; use the version"),
        (["select"], r"found \['select'\]"),
        (7, "found 7; use the version"),
    ],
)
def test_a_command_that_is_not_known_is_one_message(said: object, hint: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^x.yaml: command: expected one of select, walk, compare, train, evaluate, {hint}"
    ):
        command_of({"command": said, "pool": "p"}, "x.yaml")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_settings_cannot_be_another(command: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(COMMANDS[command], REQUIRED[command] | {"command": "warmup"}, "x")
    assert str(error.value).splitlines()[1:] == [
        f"  command: expected {command}, whose settings these are, found 'warmup'; leave it out"
    ]


def test_the_command_is_not_offered_as_a_setting() -> None:
    with pytest.raises(ConfigError, match="comand: unknown; known: data, out, model"):
        parse(TrainConfig, REQUIRED["train"] | {"comand": "train"}, "x")


@pytest.mark.parametrize("says", [True, False], ids=["new", "old"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_is_of_the_command_whose_settings_it_holds(command: str, says: bool, tmp_path: Path) -> None:
    values = dumped(command)
    if not says:
        del values["command"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert load(tmp_path / "config.yaml") == values
    for name, model in COMMANDS.items():
        if name == command:
            check_command(tmp_path, model)
            continue
        with pytest.raises(StoreError, match=rf"found that of another command \(g2is {command}\); name another --out"):
            check_command(tmp_path, model)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_settings_in_a_folder_are_those_of_its_command(command: str, tmp_path: Path) -> None:
    assert settings_in(tmp_path) is None
    assert command_in(tmp_path) is None
    config = parse(COMMANDS[command], REQUIRED[command], "a test")
    (tmp_path / "config.yaml").write_text(dump(config))
    assert settings_in(tmp_path) == config
    assert command_in(tmp_path) == command


def test_settings_in_a_folder_that_cannot_be_read_are_told_and_not_passed_for_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    for read in (settings_in, command_in):
        with pytest.raises(ConfigError, match=r"config\.yaml: expected a YAML config, .* it is a pipe"):
            read(tmp_path)


def test_a_folder_of_unknown_settings_or_an_unknown_command_is_left_alone(tmp_path: Path) -> None:
    check_command(tmp_path, Config)
    (tmp_path / "config.yaml").write_text("learning_rate: 3\n")
    with pytest.raises(StoreError, match=r"another command \(its config.yaml has learning_rate\); name another --out"):
        check_command(tmp_path, Config)
    (tmp_path / "config.yaml").write_text("command: report\n")
    with pytest.raises(ConfigError, match=r"config.yaml: command: expected one of .*, found 'report'"):
        check_command(tmp_path, Config)


def test_what_a_run_of_before_passed_over_is_dropped_from_its_file_and_told() -> None:
    settings = SelectionConfig(method="less").model_dump(mode="json") | {"noise": 5.0, "seed": 2}
    of_before = REQUIRED["select"] | {"selection": settings, "representation": {"max_terms": 7}}
    values, left_out = updated(of_before, "x")
    assert left_out == ["selection.noise", "selection.seed", "representation.max_terms"]  # others are at their defaults
    assert "noise" not in values["selection"]
    assert values["representation"] == {}
    assert parse(Config, values, "x").selection.selector == "top"


@pytest.mark.parametrize("also", [{"command": "select"}, {}], ids=["of now", "written by hand"])
def test_other_files_are_held_to_what_they_say(also: dict[str, Any]) -> None:
    of_hand = {"method": "less", "noise": 5.0, "seed": 2}
    whole = SelectionConfig(method="less").model_dump(mode="json") if also else {}
    values, left_out = updated(REQUIRED["select"] | also | {"selection": whole | of_hand}, "x")
    assert not left_out
    with pytest.raises(ConfigError, match=r"selection.noise: expected .*\. selection.seed: expected .* random"):
        parse(Config, values, "x")


def test_a_comparison_of_before_keeps_all_that_it_says() -> None:
    values = REQUIRED["compare"] | {"selection": {"delta": 0.9}, "representation": {"max_terms": 7}}
    assert updated(values, "x") == (values, [])
