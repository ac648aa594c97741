"""Stores, runs and other folders that an earlier g2is made open, go on and select the same rows.

`tests/data/before_redesign` says how they were made.
"""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
import zarr

import g2is as package

Command = Callable[..., tuple[int, str, str]]
DATA = Path(__file__).resolve().parents[1] / "data/before_redesign"
MADE_IN = "/tmp/g2is-before"
EXPECTED: dict[str, list[int]] = json.loads((DATA / "expected.json").read_text())
RUNS = [name for name in EXPECTED if name.startswith("runs/")]
MATRICES = [name for name in EXPECTED if name.startswith("matrices/")]
TABLES = ("selection.parquet", "scores.parquet", "selected.jsonl", "selected.messages.jsonl")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A copy of all folders; the whole paths in their config files name the copy."""
    with tarfile.open(DATA / "folders.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for config in tmp_path.rglob("config.yaml"):
        text = config.read_text()
        assert f" {MADE_IN}/" in text
        config.write_text(text.replace(f" {MADE_IN}/", f" {tmp_path}/"))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def unchanged(store: Path, before: dict[str, bytes]) -> bool:
    """Whether a store is as it was, but for tables of tokens: those are made anew, for what theirs do not tell."""
    after = contents(store)
    return all(after[name] == before[name] for name in before) and all(
        name in before or name.startswith("examples/") for name in after
    )


def selected(run: Path) -> list[int]:
    rows: list[int] = pq.read_table(run / "selection.parquet").column("row").to_pylist()
    return rows


def sittings(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "summary.json").read_text())["sittings"]
    return found


@pytest.mark.parametrize("name", RUNS)
def test_a_finished_run_given_again_is_done(name: str, made: Path, g2is: Command) -> None:
    store, tables = contents(made / "store"), {table: (made / name / table).read_bytes() for table in TABLES}
    before = sittings(made / name)
    code, out, err = g2is("run", made / name / "config.yaml")
    assert code == 0, err
    assert "8 rows selected" in out
    assert not any(stage in err for stage in ("warm up", "gradients of", "states of", "select ", "walk "))
    assert {table: (made / name / table).read_bytes() for table in TABLES} == tables
    assert unchanged(made / "store", store)
    assert sittings(made / name)[:-1] == before


@pytest.mark.parametrize("name", RUNS)
def test_its_config_replayed_into_another_folder_selects_the_same_rows_from_the_store(
    name: str, made: Path, g2is: Command
) -> None:
    store = contents(made / "store")
    code, _, err = g2is("run", made / name / "config.yaml", "--out", made / "again")
    assert code == 0, err
    assert not any(stage in err for stage in ("warm up", "gradients of", "states of"))
    assert selected(made / "again") == selected(made / name) == EXPECTED[name]
    assert unchanged(made / "store", store)
    for table in ("selected.jsonl", "selected.messages.jsonl"):
        assert (made / "again" / table).read_bytes() == (made / name / table).read_bytes()


def test_other_settings_than_those_of_the_selection_are_refused(made: Path, g2is: Command) -> None:
    tables = {table: (made / "runs/design" / table).read_bytes() for table in TABLES}
    code, _, err = g2is("run", made / "runs/design/config.yaml", "--set", "selection.noise=2")
    assert code == 2
    assert "found 1 that differ:" in err
    assert "selection.noise: there 1.0, asked for 2.0" in err
    assert {table: (made / "runs/design" / table).read_bytes() for table in TABLES} == tables


def test_its_examples_are_exported_again(made: Path, g2is: Command) -> None:
    run = made / "runs/two-targets"
    files = {name: (run / name).read_bytes() for name in ("selected.jsonl", "selected.messages.jsonl")}
    for name in files:
        (run / name).unlink()
    code, out, err = g2is("export", run)
    assert code == 0, err
    assert "8 rows selected" in out
    assert {name: (run / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("method", ["less", "match", "official"])
def test_another_method_uses_the_gradients_of_the_store(method: str, made: Path, g2is: Command) -> None:
    store = contents(made / "store")
    config = yaml.safe_load((made / "runs/design/config.yaml").read_text())
    config |= {"selection": {"method": method, "budget": 5}, "out": str(made / method)}
    (made / "config.yaml").write_text(yaml.safe_dump(config))
    code, _, err = g2is("run", made / "config.yaml")
    assert code == 0, err
    assert not any(stage in err for stage in ("warm up", "gradients of"))
    assert 1 <= len(selected(made / method)) <= 5
    assert unchanged(made / "store", store)


def test_python_reads_the_gradients_of_the_store(made: Path) -> None:
    config = yaml.safe_load((made / "runs/design/config.yaml").read_text())
    found = package.extract_gradients(
        pool=config["pool"],
        target=config["targets"],
        model=config["model"]["name"],
        out=made / "gradients",
        store=made / "store",
        warmup=config["warmup"],
        gradients=config["gradients"],
        execution=config["execution"],
    )
    assert found.pool_ids == [json.loads(line)["id"] for line in (made / "pool.jsonl").read_text().splitlines()]
    for epoch, checkpoint in enumerate(json.loads((made / "store/warmup/complete.json").read_text())["checkpoints"]):
        stored = array(made / "store/gradients/pool", f"{checkpoint['name']}/momentum-free/rows")
        share = found.pool[:, 128 * epoch : 128 * (epoch + 1)]
        assert np.allclose(share, stored * checkpoint["weight"] ** 0.5, atol=1e-3)


def test_a_store_whose_extraction_was_killed_goes_on_where_it_was(made: Path, g2is: Command) -> None:
    store, run = made / "stopped/store", made / "stopped/run"
    before, seconds = contents(store), sittings(run)
    assert (store / "gradients/pool/key/c/2").exists(), "a third shard was begun"
    assert not (store / "gradients/pool/markers/000002.json").exists(), "and not marked"
    code, _, err = g2is("run", run / "config.yaml")
    assert code == 0, err
    assert "gradients of pool" in err
    assert not any(stage in err for stage in ("warm up", "gradients of target"))
    assert sittings(run)[:-1] == seconds
    after = contents(store)
    kept = [name for name in before if not ("gradients/pool/" in name and ("/c/2" in name or "zarr.json" in name))]
    assert len(kept) > 40
    assert [name for name in kept if after[name] != before[name]] == []
    undisturbed = made / "store/gradients/pool"
    markers = [json.loads(path.read_text())["num_rows"] for path in sorted(undisturbed.glob("markers/*.json"))]
    assert [json.loads(after[f"gradients/pool/markers/{n:06d}.json"])["num_rows"] for n in range(4)] == markers
    for name in ("key", "num_answer_tokens"):  # the shards are cut as they would have been
        assert np.array_equal(array(store / "gradients/pool", name), array(undisturbed, name))
    for name in [f"epoch-{epoch}/{form}" for epoch in (1, 2) for form in ("less", "momentum-free")]:
        there, here = array(undisturbed, f"{name}/rows"), array(store / "gradients/pool", f"{name}/rows")
        # this machine may round otherwise than the one that made the folders
        assert (there * here).sum(1) == pytest.approx(np.ones(60), abs=2e-3)  # lengths of float16 rows
        assert cosines(there, here).min() >= 1 - 1e-5
        there, here = array(undisturbed, f"{name}/norm"), array(store / "gradients/pool", f"{name}/norm")
        assert here == pytest.approx(there, rel=1e-4)
    assert selected(run) == EXPECTED["runs/design"]
    # and once more there is nothing to do
    code, _, err = g2is("run", run / "config.yaml")
    assert code == 0, err
    assert contents(store) == after


def array(table: Path, name: str) -> np.ndarray:
    """The sixty rows that are no padding, numbers as float64."""
    found = np.asarray(zarr.open_array(table / name, mode="r")[:])[:60]
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


@pytest.mark.parametrize("name", MATRICES)
def test_a_walk_on_matrices_given_again_or_replayed_selects_the_same_rows(name: str, made: Path, g2is: Command) -> None:
    for more, run in (((), made / name), (("--out", made / "again"), made / "again")):
        code, out, err = g2is("run", made / name / "config.yaml", *more)
        assert code == 0, err
        assert "8 of 8 rows selected" in out
        assert selected(run) == EXPECTED[name]
    code, _, err = g2is("run", made / name / "config.yaml", "--set", "selection.budget=3")
    assert code == 2
    assert "selection.budget: there 8, asked for 3" in err


def test_a_finished_training_is_not_trained_again(made: Path, g2is: Command) -> None:
    before = contents(made / "tuned/adapter")
    code, out, err = g2is("run", made / "tuned/config.yaml")
    assert code == 0, err
    assert "tuned on 8 examples" in out
    assert "tune " not in err
    assert contents(made / "tuned/adapter") == before
    code, _, err = g2is("run", made / "tuned/config.yaml", "--set", "tuning.epochs=2")
    assert code == 2
    assert "found 1 that differ:" in err
    assert "tuning.epochs: there 1, asked for 2" in err


def test_a_finished_evaluation_is_not_made_again(made: Path, g2is: Command) -> None:
    before = {name: (made / "tested" / name).read_bytes() for name in ("answers.parquet", "evaluation.json")}
    code, out, err = g2is("run", made / "tested/config.yaml")
    assert code == 0, err
    assert "tested on 4 rows" in out
    assert "load model" not in err
    assert {name: (made / "tested" / name).read_bytes() for name in before} == before
    code, _, err = g2is("run", made / "tested/config.yaml", "--set", "evaluation.max_new_tokens=5")
    assert code == 2
    assert "found 1 that differ:" in err
    assert "evaluation.max_new_tokens: there 4, asked for 5" in err


def test_a_comparison_goes_on_with_the_next_cell(made: Path, g2is: Command) -> None:
    comparison = made / "comparison"
    run = comparison / "selections/less-rr/target/8/seed-0"
    done, stored, selection = (contents(comparison / name) for name in ("cells", "store", "selections"))
    assert len(done) == 2
    (seconds,) = (sitting["seconds"] for sitting in sittings(run))
    code, _, err = g2is("run", comparison / "config.yaml")
    assert code == 0, err
    assert [number for number in range(1, 6) if f"cell {number} of 5" in err] == [3, 4, 5]
    after = contents(comparison / "cells")
    assert len(after) == 5
    assert {name: after[name] for name in done} == done
    assert {name: contents(comparison / "store")[name] for name in stored} == stored
    table = "less-rr/target/8/seed-0/selection.parquet"
    assert contents(comparison / "selections")[table] == selection[table]
    assert err.count("tune ") == 2  # full-cut and full: less-rr was tuned before the kill
    # and what was done then keeps its time
    cell = json.loads(after["less-rr/target/8/seed-0.json"])
    assert cell["seconds"]["select"] == round(seconds["read gradients"] + seconds["select"], 2)
    assert cell["seconds"]["represent"] == json.loads(stored["seed-0/costs.json"])["gradient"]
    assert "| less-rr " in (comparison / "comparison.md").read_text()
    code, _, err = g2is("run", comparison / "config.yaml")
    assert code == 0, err
    assert "cell " not in err


@pytest.mark.parametrize("folder", ["runs/design", "runs/g2is", "matrices/design", "tuned", "tested", "comparison"])
def test_a_folder_of_another_command_is_refused(folder: str, made: Path, g2is: Command) -> None:
    of = {"runs": "select", "matrices": "walk", "tuned": "train", "tested": "evaluate", "comparison": "compare"}
    model = ("--model", made / "model", "--out", made / folder)
    matrices = ("--pool-gradients", made / "matrices/pool.npy", "--target-gradients", made / "matrices/target.npy")
    files = (made / "pool.jsonl", made / "target.jsonl")
    commands: dict[str, tuple[object, ...]] = {
        "select": ("select", *files, *model, "--budget", 8),
        "walk": ("walk", *matrices, *model[2:], "--budget", 8),
        "train": ("train", made / "runs/design", *model),
        "evaluate": ("evaluate", made / "test.jsonl", *model),
        "compare": ("compare", *files, "--test", made / "test.jsonl", *model, "--budgets", 8),
    }
    before = contents(made / folder)
    for name, arguments in commands.items():
        if name != of[folder.partition("/")[0]]:
            code, _, err = g2is(*arguments)
            assert code == 2, (name, err)
            assert "found that of another command" in err
    assert contents(made / folder) == before
