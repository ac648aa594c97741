"""Names out of a stranger's manifest: none leads out of its folder, nothing is written through a link."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from g2is.errors import StoreError
from g2is.store.digests import damaged_files
from g2is.store.files import as_json, read_json, write_json
from g2is.store.given import inside, part
from g2is.warmup.train import finished_warmup

OUTSIDE: list[Any] = [
    "../../evil",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/../../b",
    "a//b",
    "a/",
    "a\0b",
    "\ud800",
    "[" * 3000,
    "é" * 200,
    "a/" * 3000 + "a",
    None,
    3,
    ["a"],
    {},
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_elsewhere_is_refused(name: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"complete\.json: `name`: expected the name of what lies in .*, found"):
        inside(tmp_path, name, "complete.json: `name`")


def test_where_a_naive_reader_would_have_gone(tmp_path: Path) -> None:
    store = tmp_path / "deep/store"
    store.mkdir(parents=True)
    (tmp_path / "evil").write_text("secret")
    assert (store / "../../evil").read_text() == "secret"
    assert (store / "/etc/hostname") == Path("/etc/hostname")


@pytest.mark.parametrize("name", ["epoch-1", "rows/c/0/0", "…", "..a", "a b"])
def test_a_name_below_its_folder_is_its_path(name: str, tmp_path: Path) -> None:
    assert inside(tmp_path, name, "x") == tmp_path / name


@pytest.mark.parametrize("key", ["name", "folder"])  # of several warm-ups a checkpoint has both
@pytest.mark.parametrize("name", ["../../evil", "/etc"])
def test_a_warm_up_that_names_what_is_not_its_own_is_refused_and_nothing_goes(
    name: str, key: str, tmp_path: Path
) -> None:
    (tmp_path / "trainer").mkdir()
    record = {"checkpoints": [{"name": "epoch-1", key: name, "weight": 1.0, "digest": "0" * 32}]}
    write_json(tmp_path / "complete.json", record)
    with pytest.raises(StoreError, match=rf"complete\.json: `{key}`"):
        finished_warmup(tmp_path)
    assert (tmp_path / "trainer").is_dir()


def test_digests_of_files_outside_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "digests.json", {"../outside": "0" * 32})
    with pytest.raises(StoreError, match=r"digests\.json: a key: expected the name"):
        damaged_files(tmp_path)


@pytest.mark.parametrize(
    ("value", "kind"), [("3", int), (True, int), (None, list), ({}, list), ([], dict), ("x", float)]
)
def test_a_part_of_another_kind_is_refused(value: Any, kind: type, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"m\.json: expected .* as `key`, found"):
        part({"key": value}, "key", kind, tmp_path / "m.json")
    with pytest.raises(StoreError, match="found none"):
        part({}, "key", kind, tmp_path / "m.json")


@pytest.mark.parametrize(
    "content",
    ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": ' + "9" * 10_000 + "}", "[" * 100_000, '{"a": -Infinity}', "[]"],
)
def test_json_that_g2is_never_writes_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(StoreError, match=r"m\.json: expected a JSON"):
        read_json(tmp_path / "m.json")
    if "twice" in content or content.startswith('{"a": 1'):
        assert json.loads(content) == {"a": 2}, "a naive reader takes the last"


def test_a_pipe_as_a_manifest_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.json")
    with pytest.raises(StoreError, match="it is a pipe"):
        read_json(tmp_path / "m.json")


def test_what_is_written_takes_the_place_of_a_link_and_leaves_where_it_leads(tmp_path: Path) -> None:
    outside, link = tmp_path / "outside.json", tmp_path / "store/m.json"
    outside.write_text("mine")
    link.parent.mkdir()
    link.symlink_to(outside)
    write_json(link, {"a": 1})
    assert outside.read_text() == "mine"
    assert not link.is_symlink()
    assert link.read_text() == as_json({"a": 1}, link.name)
    link.with_name(".m.json.partial").symlink_to(outside)  # the name that is written first
    write_json(link, {"a": 2})
    assert outside.read_text() == "mine"
    naive = tmp_path / "naive.json"
    naive.symlink_to(outside)
    naive.write_text("overwritten")
    assert outside.read_text() == "overwritten", "a naive writer follows it"


def test_a_store_that_the_user_links_to_another_disk_is_a_store(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    write_json(tmp_path / "store/m.json", {"a": 1})
    assert read_json(tmp_path / "disk/m.json") == {"a": 1}
