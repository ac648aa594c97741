"""YAML and JSON of strangers: what explodes, repeats itself or never ends is refused in a moment."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from g2is.config.io import load
from g2is.config.strict import depth, parse_json, parse_yaml, read_text_file
from g2is.errors import ConfigError

LAUGHS = "a: &a [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LAUGHS, "aliases make more than"),
        (MERGES, "aliases make more than"),
        ("a: &a [*a]", "nested"),
        ("a: " + "[" * 20_000 + "]" * 20_000, "nested too deeply"),
        ("a: " + "[" * 101 + "]" * 101, "nested more than 100 deep"),
        ("{a: " * 20_000, "nested too deeply"),
        ("a: 1\nb: 2\na: 3\n", r"the key 'a' twice.*\n.*line 3"),
        ("x:\n  a: 1\n  a: 3\n", "the key 'a' twice"),
        ("a: " + "9" * 10**5, "a number of 100000 digits"),
        ("a: 0x" + "f" * 10**5, "a number of 100002 digits"),
        ("a: !!bool maybe", "what its tag says"),
        ("a: !!timestamp maybe", "the tag !!timestamp"),
        ("a: !!python/object/apply:os.system [ls]", "the tag"),
        ("a: !mine 1", "the tag !mine"),
        ("a: " + "x" * (1 << 20), "characters"),
    ],
)
def test_yaml_that_no_settings_are_is_refused(text: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(yaml.YAMLError, match=r"(?s)" + what):
        parse_yaml(text)
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml: expected a YAML config"):
        load(tmp_path / "c.yaml")


def test_what_a_naive_reader_makes_of_it() -> None:
    with pytest.raises(RecursionError):
        yaml.safe_load("a: " + "[" * 20_000 + "]" * 20_000)
    assert yaml.safe_load("a: 1\na: 3\n") == {"a": 3}  # and nobody is told
    laughs = yaml.safe_load(LAUGHS)
    sizes = {"a": 9}
    for old, new in zip("abcdefgh", "bcdefghi", strict=True):
        sizes[new] = sizes[old] * len(laughs[new])
    assert sizes["i"] == 9**9  # words, once they are printed or checked one by one


def test_plain_yaml_is_as_it_was() -> None:
    assert parse_yaml("a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\nd: 2026-01-31\n") == {
        "a": {"x": 1},
        "b": {"x": 2},
        "d": "2026-01-31",
    }
    assert parse_yaml("") is None
    assert parse_yaml("[0, 1_000, -7, 1.5, .5, 1.0e+3, 0x10, 2.]") == [0, 1000, -7, 1.5, 0.5, 1000.0, 16, 2.0]
    assert parse_yaml("[010, 1:30, 1:30.5]") == ["010", "1:30", "1:30.5"]  # of YAML 1.1 8, 90 and 90.5


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        ('{"' + "k" * 500 + '": 1, "' + "k" * 500 + '": 1}', "the key 'k+…' twice"),
        ("[NaN]", "NaN, which JSON has not"),
        ("[-Infinity]", "-Infinity, which"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 10**6, "digits"),
    ],
)
def test_json_that_others_read_otherwise_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as error:
        parse_json(text)
    assert len(str(error.value)) < 300


def test_numbers_that_models_write_are_taken_where_they_may_be() -> None:
    assert parse_json('{"time_step_limit": [0.0, Infinity]}', with_constants=True) == {"time_step_limit": [0, math.inf]}
    with pytest.raises(ValueError, match="the key 'a' twice"):
        parse_json('{"a": Infinity, "a": 1}', with_constants=True)


@pytest.mark.parametrize(("value", "expected"), [(1, 1), ([], 1), ([1], 2), ({"a": [{}], "b": 1}, 3), ([[[1]]], 4)])
def test_how_deep_a_value_is_nested(value: object, expected: int) -> None:
    assert depth(value) == expected


def test_a_naive_reader_takes_the_last_of_two_keys_and_numbers_that_are_none() -> None:
    assert json.loads('{"a": 1, "a": 2}') == {"a": 2}
    assert json.loads("[Infinity]") == [float("inf")]
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000)


def test_a_pipe_that_nobody_writes_to_is_refused_where_a_naive_reader_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.yaml")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", f"open({str(tmp_path / 'c.yaml')!r})"], timeout=1, check=False)
    with pytest.raises(ConfigError, match="it is a pipe, no regular file"):
        load(tmp_path / "c.yaml")


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: 1\n")
    program = "import sys; from pathlib import Path; from g2is.config.io import load; print(load(Path(sys.argv[1])))"
    command = f"{sys.executable} -c '{program}' <(cat c.yaml); cat c.yaml | {sys.executable} -c '{program}' /dev/stdin"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "{'a': 1}\n" * 2


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_what_never_ends_or_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"it is a (device|folder)"):
        read_text_file(Path(path))
