from pathlib import Path

import pytest

from g2is.model.checkpoints import COMPLETE, keep_sound, seal


def make(folder: Path, *steps: int) -> None:
    for step in steps:
        checkpoint = folder / f"checkpoint-{step}"
        (checkpoint / "inner").mkdir(parents=True)
        (checkpoint / "optimizer.pt").write_bytes(bytes(range(100)) + bytes([step]))
        (checkpoint / "inner/rng.pth").write_bytes(b"state")
        seal(checkpoint)


def damage(path: Path, kind: str) -> None:
    if kind == "delete":
        path.unlink()
    else:
        content = path.read_bytes()
        flipped = bytes([content[0] ^ 1]) + content[1:]
        path.write_bytes({"flip": flipped, "truncate": content[: len(content) // 2], "empty": b""}[kind])


def test_the_last_sound_checkpoint_is_gone_on_from_and_the_one_before_is_kept(tmp_path: Path) -> None:
    make(tmp_path, 9, 10)
    assert keep_sound(tmp_path, pytest.fail) == tmp_path / "checkpoint-10"
    assert (tmp_path / "checkpoint-9").exists()
    (tmp_path / "checkpoint-11").mkdir()  # half written
    assert keep_sound(tmp_path, pytest.fail) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()


@pytest.mark.parametrize("kind", ["flip", "truncate", "empty", "delete"])
@pytest.mark.parametrize("name", ["optimizer.pt", "inner/rng.pth", COMPLETE])
def test_a_damaged_one_is_said_and_the_one_before_it_taken(name: str, kind: str, tmp_path: Path) -> None:
    make(tmp_path, 9, 10)
    damage(tmp_path / "checkpoint-10" / name, kind)
    said: list[str] = []
    assert keep_sound(tmp_path, said.append) == tmp_path / "checkpoint-9"
    assert not (tmp_path / "checkpoint-10").exists()
    if (name, kind) == (COMPLETE, "delete"):  # as a kill leaves it
        assert not said
    else:
        assert all(part in said[0] for part in ("checkpoint-10", name, "the one before it"))


def test_an_added_or_foreign_file_is_damage_and_without_a_sound_one_it_starts_anew(tmp_path: Path) -> None:
    make(tmp_path, 3)
    (tmp_path / "checkpoint-3/other").write_text("x")
    said: list[str] = []
    assert keep_sound(tmp_path, said.append) is None
    assert "other damaged; going on from the one before it: from the start" in said[0]
