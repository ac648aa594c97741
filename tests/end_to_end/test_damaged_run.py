"""A finished run whose files were damaged: the same command finds it, says it, and makes them anew."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import MODEL

Command = Callable[..., tuple[int, str, str]]
FILES = ("selection.parquet", "scores.parquet", "picks.json", "selected.jsonl", "selected.messages.jsonl")


@pytest.mark.parametrize("name", [*FILES, "digests.json"])
@pytest.mark.parametrize("damage", ["flip", "delete", "empty"])
def test_a_rerun_finds_damage_and_mends_it(run: Path, name: str, damage: str, g2is: Command, finished: Path) -> None:
    content = (run / name).read_bytes()
    if damage == "delete":
        (run / name).unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        (run / name).write_bytes(flipped if damage == "flip" else b"")
    code, _, err = g2is("run", run / "config.yaml")
    assert code == 0, err
    for one in FILES:
        assert (run / one).read_bytes() == (finished / one).read_bytes(), one
    if name in FILES[:3]:
        assert f"found {name} damaged" in err


def test_a_training_on_a_run_whose_selection_lost_a_line_is_refused(run: Path, g2is: Command, tmp_path: Path) -> None:
    lines = (run / "selected.messages.jsonl").read_text().splitlines(keepends=True)
    (run / "selected.messages.jsonl").write_text("".join(lines[:-1]))
    code, _, err = g2is("train", run, "--model", MODEL, "--out", tmp_path / "tuned")
    assert code == 2
    assert "selected.messages.jsonl: expected the selection as it was written, found another content" in err
    assert not (tmp_path / "tuned").exists()
