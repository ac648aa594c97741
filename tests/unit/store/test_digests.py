from pathlib import Path

import pytest

from g2is.errors import StoreError
from g2is.store.digests import (
    DIGESTS,
    are_of_another,
    damaged_files,
    noted_digests,
    noted_text,
    record_digests,
    record_missing,
    record_text,
)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete", "other"])
def test_a_file_that_is_not_as_it_was_written_is_named(damage: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode() * 50)
    record_digests(tmp_path, ["one", "two", "absent"])
    assert damaged_files(tmp_path) == []
    content = (tmp_path / "two").read_bytes()
    if damage == "delete":
        (tmp_path / "two").unlink()
    else:
        changed = {
            "flip": bytes([content[0] ^ 1]) + content[1:],
            "truncate": content[:-1],
            "empty": b"",
            "other": (tmp_path / "one").read_bytes(),
        }
        (tmp_path / "two").write_bytes(changed[damage])
    assert damaged_files(tmp_path) == ["two"]
    assert damaged_files(tmp_path, ["one", "absent"]) == []
    record_digests(tmp_path, ["two"])
    assert damaged_files(tmp_path) == []


def test_damaged_notes_are_damage_and_are_written_anew(tmp_path: Path) -> None:
    assert damaged_files(tmp_path) == []  # of an older version
    (tmp_path / "one").write_bytes(b"x")
    record_digests(tmp_path, ["one"])
    (tmp_path / DIGESTS).write_bytes(b"{")
    assert damaged_files(tmp_path, ["one"]) == [DIGESTS]
    record_digests(tmp_path, ["one"])
    assert damaged_files(tmp_path, ["one"]) == []


def _folder(path: Path, name: str) -> Path:
    folder = path / name
    folder.mkdir()
    for file in ("config.yaml", "manifest.json", "table"):
        (folder / file).write_text(f"{file} of {name}")
    (folder / "alike").write_text("the same in both")
    record_digests(folder, ["manifest.json", "table", "alike"])
    record_text(folder, "config.yaml", (folder / "config.yaml").read_text())
    return folder


def test_notes_of_another_folder_give_no_settings(tmp_path: Path) -> None:
    one, other = _folder(tmp_path, "one"), _folder(tmp_path, "other")
    assert not are_of_another(one, noted_digests(one))
    (one / DIGESTS).write_bytes((other / DIGESTS).read_bytes())
    assert are_of_another(one, noted_digests(one))
    assert noted_text(one, "config.yaml") is None
    inner = _folder(tmp_path, "inner")
    (inner / "config.yaml").unlink()
    (inner / DIGESTS).unlink()
    record_digests(inner, ["table"])
    (one / "table").unlink()
    (one / DIGESTS).write_bytes((inner / DIGESTS).read_bytes())  # says nothing of the settings that are there
    assert are_of_another(one, noted_digests(one))


@pytest.mark.parametrize("changed", [["config.yaml"], ["manifest.json", "table"], ["manifest.json", "table", "alike"]])
def test_notes_are_a_folders_own_where_its_settings_or_most_files_are_as_noted(
    changed: list[str], tmp_path: Path
) -> None:
    folder = _folder(tmp_path, "one")
    for name in changed:
        (folder / name).write_text("damaged")
    assert not are_of_another(folder, noted_digests(folder))
    assert noted_text(folder, "config.yaml") == "config.yaml of one"
    assert sorted(damaged_files(folder)) == sorted(changed)


def test_another_json_file_in_place_of_notes_is_damage(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "one")
    (folder / DIGESTS).write_text('{"shape": [96, 64], "zarr_format": 3}')  # of another program: no digest of its own
    with pytest.raises(StoreError, match=DIGESTS):
        noted_digests(folder)
    assert damaged_files(folder, ["table"]) == [DIGESTS]
    (folder / DIGESTS).write_text("{}")  # it would vouch for nothing, and nothing would be missed
    assert damaged_files(folder, ["table"]) == [DIGESTS]
    record_digests(folder, ["table"])
    assert list(noted_digests(folder)) == ["table"]


def test_what_was_never_noted_is_noted_and_what_was_stays(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "one")
    before = noted_digests(folder)
    (folder / "new").write_text("whole")
    (folder / "table").write_text("damaged since")
    record_missing(folder, ["new", "table", "not there"])
    assert damaged_files(folder) == ["table"]
    assert noted_digests(folder).keys() == before.keys() | {"new"}
    (folder / DIGESTS).write_text("{")
    record_missing(folder, ["new"])
    assert (folder / DIGESTS).read_text() == "{", "damage is for its readers to tell"
