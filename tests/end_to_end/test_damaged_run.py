"""A finished run whose files were damaged: the same command finds it, says it, and makes them anew."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import MODEL

from g2is.errors import InputError
from g2is.jobs import select as select_module
from g2is.store.files import read_json, write_json

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


@pytest.mark.parametrize("name", ["selection.parquet", "scores.parquet", "map.parquet", "report.html"])
@pytest.mark.parametrize("notes", ["flip", "delete", "empty"])
def test_damage_shows_although_the_notes_of_what_files_held_are_damaged_too(
    run: Path, name: str, notes: str, g2is: Command, finished: Path
) -> None:
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    if notes == "delete":
        (run / "digests.json").unlink()
    else:
        noted = (run / "digests.json").read_bytes()
        (run / "digests.json").write_bytes(noted.replace(b"1", b"2", 1) if notes == "flip" else b"")
    code, _, err = g2is("run", run / "config.yaml")
    assert code == 0, err
    assert "selection is made anew" in err
    for one in ("selection.parquet", "scores.parquet", "map.parquet"):
        assert (run / one).read_bytes() == (finished / one).read_bytes(), one
    assert g2is("verify", run)[0] == 0


def test_a_selection_that_nothing_vouches_for_is_not_trained_on(run: Path, g2is: Command, tmp_path: Path) -> None:
    (run / "digests.json").unlink()
    code, _, err = g2is("train", run, "--model", MODEL, "--out", tmp_path / "tuned")
    assert code == 2
    assert f"Write it again with `g2is export {run}`" in err
    assert not (tmp_path / "tuned").exists()


def test_a_damaged_selection_is_not_exported(run: Path, g2is: Command) -> None:
    content = (run / "selection.parquet").read_bytes()
    (run / "selection.parquet").write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    for command in ("export", "report"):
        code, _, err = g2is(command, run)
        assert code == 2, command
        assert "expected what the run wrote, found it damaged" in err


PLACES = ("gradients/pool/epoch-1/momentum-free/rows/c/0/0", "warmup/epoch-1/adapter_model.safetensors")


@pytest.mark.parametrize("place", [*PLACES, "warmup/complete.json"])
def test_a_pipe_in_the_place_of_a_stored_file_is_refused_and_not_waited_for(
    run: Path, place: str, g2is: Command
) -> None:
    pipe = run / "store" / place
    pipe.unlink()
    os.mkfifo(pipe)
    for command in (("verify", run), ("verify", run / "store"), ("run", run / "config.yaml")):
        code, _, err = g2is(*command)
        assert code == 2, command
        assert f"{pipe}: a pipe" in err, command


@pytest.mark.parametrize("weight", [-3, 0.9, 1e308, 0])
def test_weights_of_checkpoints_that_are_none_are_refused(run: Path, weight: float, g2is: Command) -> None:
    record = run / "store/warmup/complete.json"
    values = read_json(record)
    values["checkpoints"][0]["weight"] = weight
    write_json(record, values)
    code, _, err = g2is("run", run / "config.yaml")
    assert code == 2
    assert "expected weights of checkpoints that are at least 0 and come to 1" in err


def test_a_pool_that_is_replaced_during_a_run_is_not_exported(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from g2is.api import select

    pool, select_rows = tmp_path / "pool.jsonl", select_module.select_rows
    content = (sample / "pool.jsonl").read_text()
    pool.write_text(content)

    def then_replaced(*arguments: Any, **more: Any) -> Any:
        found = select_rows(*arguments, **more)
        pool.write_text(content.replace("a", "e"))
        return found

    monkeypatch.setattr(select_module, "select_rows", then_replaced)
    with pytest.raises(InputError, match="found the file changed"):
        select(
            pool=pool,
            target=sample / "target.jsonl",
            model=MODEL,
            out=tmp_path / "out",
            budget=5,
            selection={"method": "bm25"},
        )
    assert not (tmp_path / "out/selected.jsonl").exists()


@pytest.mark.parametrize("changed", ["pool.jsonl", "target.jsonl", "keep.txt"])
def test_a_selection_that_one_of_other_rows_replaces_is_told_of(
    changed: str, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    for name in ("pool.jsonl", "target.jsonl"):
        (tmp_path / name).write_text((sample / name).read_text())
    (tmp_path / "keep.txt").write_text("pool-00003\n")
    out, told = tmp_path / "out", "out: its selection was made from other rows: files of pool or target"
    command = (
        *("select", tmp_path / "pool.jsonl", tmp_path / "target.jsonl", "--model", MODEL, "--method", "bm25"),
        *("--budget", "5", "--include", tmp_path / "keep.txt", "--out", out, "--no-report"),
    )
    for _ in range(2):
        code, _, err = g2is(*command)
        assert (code, told in err) == (0, False), err
    before = (out / "selected.jsonl").read_bytes()
    lines = (tmp_path / changed).read_text().splitlines(keepends=True)
    (tmp_path / changed).write_text("pool-00004\n" if changed == "keep.txt" else "".join(lines[1:]))
    code, _, err = g2is(*command, "--dry-run")
    assert (code, told in err, (out / "selected.jsonl").read_bytes()) == (0, True, before), err
    code, _, err = g2is(*command)
    assert (code, told in err) == (0, True), err
    code, _, err = g2is(*command)
    assert (code, told in err) == (0, False), err
