import os
from pathlib import Path

import numpy as np
import pytest

from g2is.model.checkpoints import COMPLETE, digest_of_rows, keep_sound, seal


def make(folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoint = folder / f"checkpoint-{step}"
        (checkpoint / "inner").mkdir(parents=True)
        (checkpoint / "optimizer.pt").write_bytes(bytes(range(100)) + bytes([step]))
        (checkpoint / "inner/rng.pth").write_bytes(b"state")
        seal(checkpoint, "rows")


def damage(path: Path, kind: str) -> None:
    if kind == "delete":
        path.unlink()
    else:
        content = path.read_bytes()
        flipped = bytes([content[0] ^ 1]) + content[1:]
        path.write_bytes({"flip": flipped, "truncate": content[: len(content) // 2], "empty": b""}[kind])


def test_the_last_sound_checkpoint_is_gone_on_from_and_the_one_before_is_kept(tmp_path: Path) -> None:
    make(tmp_path, 9, 10)
    assert keep_sound(tmp_path, "rows", pytest.fail) == tmp_path / "checkpoint-10"
    assert (tmp_path / "checkpoint-9").exists()
    (tmp_path / "checkpoint-11").mkdir()  # half written
    assert keep_sound(tmp_path, "rows", pytest.fail) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()


def test_the_last_two_are_kept_by_their_steps_whatever_their_times_say(tmp_path: Path) -> None:
    make(tmp_path, 9, 10)
    os.utime(tmp_path / "checkpoint-10", (1, 1))  # of a machine whose clock is behind
    make(tmp_path, 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    assert keep_sound(tmp_path, "rows", pytest.fail) == tmp_path / "checkpoint-100"


@pytest.mark.parametrize("kind", ["flip", "truncate", "empty", "delete"])
@pytest.mark.parametrize("name", ["optimizer.pt", "inner/rng.pth", COMPLETE])
def test_a_damaged_one_is_said_and_the_one_before_it_taken(name: str, kind: str, tmp_path: Path) -> None:
    make(tmp_path, 9, 10)
    damage(tmp_path / "checkpoint-10" / name, kind)
    said: list[str] = []
    assert keep_sound(tmp_path, "rows", said.append) == tmp_path / "checkpoint-9"
    assert not (tmp_path / "checkpoint-10").exists()
    if (name, kind) == (COMPLETE, "delete"):  # as a kill leaves it
        assert not said
    else:
        assert all(part in said[0] for part in ("checkpoint-10", name, "the one before it"))


def test_an_added_or_foreign_file_is_damage_and_without_a_sound_one_it_starts_anew(tmp_path: Path) -> None:
    make(tmp_path, 3)
    (tmp_path / "checkpoint-3/other").write_text("x")
    said: list[str] = []
    assert keep_sound(tmp_path, "rows", said.append) is None
    assert "other damaged; going on from the one before it: from the start" in said[0]


def test_one_of_a_training_on_other_rows_is_said_and_not_gone_on_from(tmp_path: Path) -> None:
    rows = [(np.array([1, 2]), np.array([False, True])), (np.array([3]), np.array([True]))]
    others = [(np.array([1]), np.array([False])), (np.array([2, 3]), np.array([True, True]))]
    assert digest_of_rows(rows) != digest_of_rows(others)
    (tmp_path / "checkpoint-3").mkdir()
    seal(tmp_path / "checkpoint-3", digest_of_rows(rows))
    assert keep_sound(tmp_path, digest_of_rows(rows), pytest.fail) == tmp_path / "checkpoint-3"
    said: list[str] = []
    assert keep_sound(tmp_path, digest_of_rows(others), said.append) is None
    assert "expected a checkpoint of a training on these rows, found one on others" in said[0]
