"""`g2is store ls` and `gc`: what a store holds, and that only what serves nobody goes."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_run import MODEL, SMALL, set_flags

from g2is.jobs.store_folder import IN_WORK
from g2is.store.lock import locked
from g2is.store.plan import PLAN, ShardPlan, write_plan

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "store", tmp_path / "store")
    return tmp_path / "store"


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def leave_behind(store: Path, *, age: float) -> set[str]:
    """What stops leave, and a plan that is not done and so is no leftover."""
    table = store / "gradients/pool"
    marker = json.loads((table / "markers/000000.json").read_text())
    chunks = [table / name / "c/9" for name in marker["arrays"]]
    for chunk in chunks:
        chunk.mkdir(parents=True)
        (chunk / "0").write_bytes(b"half a shard")
    (store / ".manifest.json.partial").write_text("{")
    (store / "warmup/trainer/checkpoint-5").mkdir(parents=True)
    (store / "warmup/trainer/checkpoint-5/model").write_bytes(b"weights")
    write_plan(table / PLAN, ShardPlan(marker["fingerprint"], 64, {0: np.zeros((3, 16), np.uint8)}))
    write_plan(
        store / "gradients/target" / PLAN, ShardPlan(marker["fingerprint"], 64, {7: np.zeros((2, 16), np.uint8)})
    )
    then = time.time() - age
    for path in [*store.rglob("*")]:
        os.utime(path, (then, then))
    left = [*chunks, store / ".manifest.json.partial", store / "warmup/trainer", table / PLAN]
    return {str(path.relative_to(store)) for path in left}


def test_ls_tells_what_there_is_and_changes_nothing(store: Path, g2is: Command) -> None:
    before = files(store)
    code, out, err = g2is("store", "ls", store)
    assert code == 0, err
    assert "gradients of pool: 150 rows in 3 shards" in out
    assert "epoch-1/momentum-free float16 [512]" in out
    assert "gradients of target: 8 rows in 1 shard," in out
    assert "warm-up: finished; adapters epoch-1" in out
    assert out.count("tokenised ") == 2
    assert "leftovers" not in out
    code, out, _ = g2is("store", "ls", store, "--json")
    found = json.loads(out)
    assert found["num_bytes"] == sum(map(len, before.values())) + (store / ".lock").stat().st_size
    assert {(table["representation"], table["kind"]): table["num_rows"] for table in found["tables"]} == {
        ("gradients", "pool"): 150,
        ("gradients", "target"): 8,
    }
    assert files(store) == before


def test_gc_lists_and_with_yes_removes_what_stops_left_and_nothing_else(
    store: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    whole = files(store)
    left = leave_behind(store, age=2 * IN_WORK)
    with_leftovers = files(store)
    code, out, err = g2is("store", "gc", store)
    assert code == 0, err
    assert f"{len(left)} leftovers" in out
    assert "nothing was removed; --yes removes them" in out
    assert {line.split(":")[0].strip() for line in out.splitlines()[1:-1]} == left
    assert files(store) == with_leftovers
    assert "2 shards planned" not in g2is("store", "ls", store)[1]
    assert "; 1 shard planned and not made yet" in g2is("store", "ls", store)[1]
    code, out, err = g2is("store", "gc", store, "--yes")
    assert code == 0, err
    assert f"removed {len(left)} leftovers" in out
    assert files(store) == {**whole, "gradients/target/plan.npz": with_leftovers["gradients/target/plan.npz"]}
    assert "nothing to remove" in g2is("store", "gc", store, "--yes")[1]
    code, _, err = g2is(
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "5%"),
        *("--store", store, "--out", tmp_path / "run", *set_flags(SMALL)),
    )
    assert code == 0, err
    assert "gradients of" not in err


def test_gc_leaves_what_may_be_in_the_hands_of_another_process(store: Path, g2is: Command) -> None:
    leave_behind(store, age=IN_WORK / 2)
    before = files(store)
    assert "nothing to remove" in g2is("store", "gc", store, "--yes")[1]
    assert files(store) == before


def test_a_store_in_use_is_not_cleared(store: Path, g2is: Command) -> None:
    leave_behind(store, age=2 * IN_WORK)
    before = files(store)
    with locked(store, "store"):
        code, _, err = g2is("store", "gc", store, "--yes")
    assert code == 2
    assert "in use by another g2is process" in " ".join(err.split())
    assert files(store) == before


@pytest.mark.parametrize("command", [("ls",), ("gc",), ("gc", "--yes")])
def test_what_is_no_store_is_refused_and_left_alone(
    command: tuple[str, ...], finished: Path, g2is: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.notes.partial").write_text("mine")
    for folder, told in (
        (tmp_path / "mine", "found another folder; check the path"),
        (tmp_path / "none", "found no folder; check the path"),
        (finished, f"found another folder; its store may be {finished / 'store'}"),
    ):
        code, _, err = g2is("store", command[0], folder, *command[1:])
        assert code == 2
        assert told.replace(" ", "") in "".join(err.split())
    assert (tmp_path / "mine/.notes.partial").read_text() == "mine"
    assert not (tmp_path / "none").exists()
