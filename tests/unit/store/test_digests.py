from pathlib import Path

import pytest

from g2is.store.digests import DIGESTS, damaged_files, record_digests


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
