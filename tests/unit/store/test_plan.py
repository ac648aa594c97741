import gc
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from g2is.errors import StoreError
from g2is.store.check_table import check_table
from g2is.store.matrix import RowTable, Shard
from g2is.store.plan import PLAN, PlannedShard, ShardPlan, read_plan, write_plan

SHARD_ROWS = 4
KEYS = np.random.default_rng(0).integers(0, 256, (40, 16), np.uint8)


def open_table(path: Path, fingerprint: str = "f", shard_rows: int = SHARD_ROWS) -> RowTable:
    return RowTable(path, fingerprint, shard_rows)


def plan(table: RowTable, keys: np.ndarray) -> dict[int, list[int]]:
    """ShardPlan without a word; which rows of `keys` each number was given."""
    notices: list[str] = []
    planned = table.plan(keys, notices.append)
    assert not notices
    return as_lists(planned)


def as_lists(planned: list[PlannedShard]) -> dict[int, list[int]]:
    return {shard.number: shard.rows.tolist() for shard in planned}


def make_shard(keys: np.ndarray) -> Shard:
    return Shard(keys, {"rows": keys.astype(np.float16), "norm": keys[:, 0].astype(np.float32)})


def store(table: RowTable, keys: np.ndarray, planned: dict[int, list[int]], *numbers: int) -> None:
    for number in numbers:
        table.write(number, make_shard(keys[planned[number]]))


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_rows_of_a_new_table_are_cut_in_order_and_numbered_from_0_without_duplicates(tmp_path: Path) -> None:
    keys = KEYS[[0, 1, 2, 1, 3, 4, 0, 5, 6, 7, 8]]
    assert plan(open_table(tmp_path), keys) == {0: [0, 1, 2, 4], 1: [5, 7, 8, 9], 2: [10]}


def test_going_on_keeps_the_numbers_and_rows_of_what_is_not_stored_and_does_not_touch_the_file(tmp_path: Path) -> None:
    first = open_table(tmp_path)
    planned = plan(first, KEYS[:14])
    before = (tmp_path / PLAN).stat().st_mtime_ns
    store(first, KEYS, planned, 2, 0)
    again = open_table(tmp_path)
    again.sweep()
    assert plan(again, KEYS[:14]) == {number: planned[number] for number in (1, 3)}
    assert (tmp_path / PLAN).stat().st_mtime_ns == before
    store(again, KEYS, planned, 3, 1)
    again.end_plan()
    assert not plan(open_table(tmp_path), KEYS[:14])
    assert not (tmp_path / PLAN).exists()


def test_a_planned_shard_is_kept_as_long_as_all_of_its_rows_are_asked_for_wherever_they_stand(tmp_path: Path) -> None:
    plan(open_table(tmp_path), KEYS[:12])
    grown = np.concatenate([KEYS[20:23], KEYS[11:3:-1], KEYS[:2]])  # rows 2 and 3 of the first shard are gone
    planned = plan(open_table(tmp_path), grown)
    assert (
        {number: grown[rows].tolist() for number, rows in planned.items()}
        == {
            0: KEYS[[20, 21, 22, 0]].tolist(),  # its number is free again
            1: KEYS[4:8].tolist(),
            2: KEYS[8:12].tolist(),
            3: KEYS[[1]].tolist(),
        }
    )
    assert plan(open_table(tmp_path), grown) == planned


def test_a_planned_shard_of_which_a_row_was_stored_meanwhile_is_dropped(tmp_path: Path) -> None:
    plan(open_table(tmp_path), KEYS[:8])
    before = open_table(tmp_path / "copy")
    store(before, KEYS, {5: [6]}, 5)  # as a version without plans might have
    for file in ("markers", "key", "rows", "norm"):
        shutil.copytree(tmp_path / "copy" / file, tmp_path / file)
    assert plan(open_table(tmp_path), KEYS[:8]) == {0: [0, 1, 2, 3], 1: [4, 5, 7]}


def test_a_table_without_a_plan_goes_on_as_it_was_begun(tmp_path: Path) -> None:
    whole = open_table(tmp_path / "whole")
    planned = plan(whole, KEYS[:18])
    store(whole, KEYS, planned, *planned)
    whole.end_plan()
    shutil.copytree(tmp_path / "whole", tmp_path / "begun")
    for number in (3, 4):
        (tmp_path / f"begun/markers/{number:06d}.json").unlink()
    begun = open_table(tmp_path / "begun")
    begun.sweep()
    rest = plan(begun, KEYS[:18])
    assert rest == {number: planned[number] for number in (3, 4)}
    store(begun, KEYS, rest, 4, 3)
    begun.end_plan()
    assert contents(tmp_path / "begun") == contents(tmp_path / "whole")


def test_the_order_of_writing_changes_no_byte(tmp_path: Path) -> None:
    for name, order in (("a", (0, 1, 2, 3)), ("b", (3, 1, 0, 2))):
        table = open_table(tmp_path / name)
        store(table, KEYS, plan(table, KEYS[:14]), *order)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_arrays_are_as_long_as_the_plan_says_and_no_writer_changes_that(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    store(table, KEYS, plan(table, KEYS[:14]), 0)
    metadata = (tmp_path / "rows/zarr.json").read_bytes()
    assert zarr.open_array(tmp_path / "rows", mode="r").shape == (16, 16)
    store(table, KEYS, plan(open_table(tmp_path), KEYS[:14]), 3)
    assert (tmp_path / "rows/zarr.json").read_bytes() == metadata
    plan(open_table(tmp_path), KEYS[:30])
    assert zarr.open_array(tmp_path / "rows", mode="r").shape == (32, 16)
    plan(open_table(tmp_path), KEYS[:6])  # 4 of these are stored
    assert zarr.open_array(tmp_path / "rows", mode="r").shape == (16, 16)


def test_a_plan_given_up_leaves_a_table_that_is_sound_and_no_longer_than_its_shards(tmp_path: Path) -> None:
    first = open_table(tmp_path)
    store(first, KEYS, plan(first, KEYS), 0)  # and then a stop
    assert not list(check_table(tmp_path, "f", SHARD_ROWS))
    assert not plan(open_table(tmp_path), KEYS[:4])  # less is asked for, all of it there
    assert zarr.open_array(tmp_path / "rows").shape[0] == SHARD_ROWS
    assert not list(check_table(tmp_path, "f", SHARD_ROWS))


def test_a_stop_before_arrays_have_room_for_the_plan_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_table(tmp_path)
    store(first, KEYS, plan(first, KEYS[:4]), 0)
    monkeypatch.setattr("g2is.store.matrix.fit_arrays", lambda *_: None)
    open_table(tmp_path).plan(KEYS, lambda _: None)
    assert zarr.open_array(tmp_path / "rows").shape[0] == SHARD_ROWS
    assert not list(check_table(tmp_path, "f", SHARD_ROWS))
    zarr.open_array(tmp_path / "rows", mode="r+").resize((11 * SHARD_ROWS, 16))  # more than the plan's ten
    assert [flaw.path for flaw in check_table(tmp_path, "f", SHARD_ROWS)] == [tmp_path / "rows/zarr.json"]


def test_a_write_that_the_plan_does_not_know_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    plan(open_table(tmp_path), KEYS[:8])
    before = contents(tmp_path)
    other = open_table(tmp_path)  # as another process has it
    with pytest.raises(StoreError, match=r"plan\.npz: expected shard 1 .* found other rows in the plan.*again"):
        other.write(1, make_shard(KEYS[:4]))
    with pytest.raises(StoreError, match=r"expected shard 2 .* found no such shard in the plan"):
        other.write(2, make_shard(KEYS[4:8]))
    with pytest.raises(StoreError, match=r"under fingerprint g, found 4 rows under f\. Work with the settings"):
        open_table(tmp_path, "g").write(0, make_shard(KEYS[:4]))
    assert contents(tmp_path) == before
    other.write(1, make_shard(KEYS[4:8]))


def test_a_plan_for_other_settings_or_another_shard_length_does_not_hold(tmp_path: Path) -> None:
    plan(open_table(tmp_path), KEYS[:8])
    for fingerprint, shard_rows in (("g", SHARD_ROWS), ("g", 2), ("f", SHARD_ROWS)):
        table = open_table(tmp_path, fingerprint, shard_rows)
        table.sweep()
        assert plan(table, KEYS[1:4]) == {
            number: list(range(3))[i : i + shard_rows] for number, i in enumerate(range(0, 3, shard_rows))
        }
        found = read_plan(tmp_path / PLAN)
        assert found is not None
        assert (found.fingerprint, found.shard_rows) == (fingerprint, shard_rows)


def test_a_sweep_leaves_the_plan_and_nothing_else_where_no_shard_is_stored(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    planned = plan(table, KEYS[:8])
    store(table, KEYS, planned, 1)
    (tmp_path / "markers/000001.json").unlink()
    again = open_table(tmp_path)
    again.sweep()
    assert [path.name for path in tmp_path.iterdir()] == [PLAN]
    assert plan(again, KEYS[:8]) == planned


def test_a_damaged_plan_is_said_once_and_made_anew_and_what_is_stored_stays(tmp_path: Path) -> None:
    table = open_table(tmp_path)
    store(table, KEYS, plan(table, KEYS[:14]), 1)
    content = (tmp_path / PLAN).read_bytes()
    (tmp_path / PLAN).write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="damaged"):
        open_table(tmp_path).write(0, make_shard(KEYS[:4]))
    again, notices = open_table(tmp_path), list[str]()
    assert as_lists(again.plan(KEYS[:14], notices.append)) == {0: [0, 1, 2, 3], 2: [8, 9, 10, 11], 3: [12, 13]}
    assert len(notices) == 1
    assert "plan.npz: expected the plan of the shards to be made, found a damaged file" in notices[0]
    assert json.loads((tmp_path / "markers/000001.json").read_text())["num_rows"] == 4
    assert plan(open_table(tmp_path), KEYS[:14]).keys() == {0, 2, 3}


def test_damage_anywhere_is_found_or_changes_nothing(tmp_path: Path) -> None:
    plan(open_table(tmp_path), KEYS[:6])
    content = (tmp_path / PLAN).read_bytes()
    whole = read_plan(tmp_path / PLAN)
    assert whole is not None
    num_found = 0
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / PLAN).write_bytes(damaged)
        try:
            found = read_plan(tmp_path / PLAN)
        except StoreError:
            num_found += 1
            continue
        assert found is not None
        assert (found.fingerprint, found.shard_rows) == (whole.fingerprint, whole.shard_rows)
        assert found.keys.keys() == whole.keys.keys()
        assert all(np.array_equal(found.keys[number], whole.keys[number]) for number in whole.keys)
    assert num_found > len(content) / 6


def test_a_stop_while_a_plan_is_written_leaves_no_file_and_nothing_that_ends_badly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, badly = zipfile.ZipFile.__init__, list[object]()

    def stop(archive: zipfile.ZipFile, *arguments: Any, **options: Any) -> None:
        begin(archive, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "unraisablehook", badly.append)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", stop)
    with pytest.raises(KeyboardInterrupt) as stopped:
        write_plan(tmp_path / PLAN, ShardPlan("f", SHARD_ROWS, {0: KEYS[:3]}))
    del stopped
    gc.collect()
    assert not badly
    assert not list(tmp_path.iterdir())
