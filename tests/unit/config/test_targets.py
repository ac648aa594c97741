"""How flags and settings name targets."""

from pathlib import Path

import pytest

from g2is.config.targets import check_shares, files_by_name, read_quotas, read_shares, read_targets
from g2is.errors import ConfigError


def test_a_target_without_a_name_is_called_target() -> None:
    assert read_targets(["a.jsonl"]) == {"target": ["a.jsonl"]}
    assert read_targets(["b.jsonl", "math=a.jsonl"]) == {"target": ["b.jsonl"], "math": ["a.jsonl"]}


def test_files_of_one_name_are_one_target() -> None:
    assert read_targets(["math=a.jsonl", "med=c", "math=b.jsonl"]) == {"math": ["a.jsonl", "b.jsonl"], "med": ["c"]}
    assert read_targets(["a.jsonl", "b.jsonl"]) == {"target": ["a.jsonl", "b.jsonl"]}
    with pytest.raises(ConfigError, match=r"--test math=: expected a file after the ="):
        read_targets(["math="], "--test")


def test_targets_keep_their_order() -> None:
    assert list(read_targets(["b=1", "a=2", "c=3"])) == ["b", "a", "c"]


def test_an_equals_sign_in_a_path_belongs_to_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_targets(["math=data/n=5.jsonl"]) == {"math": ["data/n=5.jsonl"]}
    assert read_targets(["data/n=5.jsonl"]) == {"target": ["data/n=5.jsonl"]}  # data/n is no name
    monkeypatch.chdir(tmp_path)
    Path("n=5.jsonl").touch()
    assert read_targets(["n=5.jsonl"]) == {"target": ["n=5.jsonl"]}
    assert read_targets(["n=n=5.jsonl"]) == {"n": ["n=5.jsonl"]}


def test_a_name_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a file after the ="):
        read_targets(["math="])


def test_files_may_be_one_several_or_by_name() -> None:
    assert files_by_name("a") == {"target": ["a"]}
    assert files_by_name(Path("a")) == {"target": [Path("a")]}
    assert files_by_name(["a", "b"]) == {"target": ["a", "b"]}
    assert files_by_name({"x": "a", "y-2_Z": ["b", "c"]}) == {"x": ["a"], "y-2_Z": ["b", "c"]}


@pytest.mark.parametrize("given", [{}, [], {"": "a"}, {"a b": "a"}, {"x": []}, {"x": 3}, {"x": {"y": "a"}}, 3, None])
def test_anything_else_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        files_by_name(given)


def test_shares_and_quotas_are_read_by_name() -> None:
    assert read_shares(["math=2", "med=0.5"]) == {"math": 2.0, "med": 0.5}
    assert read_quotas(["web=50%", "a=b=100"]) == {"web": "50%", "a=b": "100"}


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["math"], "expected --share math=2, found 'math'"),
        (["=2"], "found '=2'"),
        (["math="], "found 'math='"),
        (["math=two"], "expected a number such as 2 or 0.5, found 'two'"),
        (["math=1", "math=2"], "'math' twice: 1 and 2"),
    ],
)
def test_a_malformed_share_is_refused(flags: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_shares(flags)


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ({"math": 1.0, "medd": 1.0}, "no target is called 'medd'; did you mean 'med'"),
        ({"math": 1.0, "zzz": 1.0}, "no target is called 'zzz'; the targets are math, med"),
        ({"math": 1.0}, "found none for med"),
        ({"math": 0.0, "med": 1.0}, "positive numbers, found math = 0"),
        ({"math": -1.0, "med": 1.0}, "found math = -1"),
        ({"math": float("inf"), "med": 1.0}, "found math = inf"),
        ({"math": float("nan"), "med": 1.0}, "found math = nan"),
    ],
)
def test_shares_are_positive_and_exactly_the_targets(shares: dict[str, float], problem: str) -> None:
    check_shares({"math": 2.0, "med": 0.5}, ["math", "med"])
    with pytest.raises(ValueError, match=problem):
        check_shares(shares, ["math", "med"])


@pytest.mark.parametrize("name", ["m\u00e4th", "math 1", "ma-th_1.x", ""])
def test_a_name_with_other_characters_is_not_told_as_a_missing_file(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a name of letters, digits, _ and - before the ="):
        read_targets([f"{name}=target.jsonl"])
    assert read_targets(["s3://bucket/part=1/a.jsonl"]) == {"target": ["s3://bucket/part=1/a.jsonl"]}
