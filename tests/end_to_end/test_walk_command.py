"""`g2is walk` on matrices that others computed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import zarr
from safetensors.numpy import save_file

Command = Callable[..., tuple[int, str, str]]


def matrices(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(4, 24))
    pool = rng.normal(size=(300, 24)) + 2 * directions[rng.integers(0, 4, 300)]
    target = rng.normal(size=(9, 24)) + 2 * directions[0]
    np.save(folder / "pool.npy", pool.astype(np.float32))
    np.save(folder / "target.npy", target.astype(np.float32))
    return pool.astype(np.float32), target.astype(np.float32)


def selected(folder: Path) -> list[int]:
    return pq.read_table(folder / "selection.parquet").column("row").to_pylist()


@pytest.mark.parametrize("name", ["clusters", "mixed", "runs_dry", "strict_delta", "count_ratio", "knn_fallback"])
def test_official_gives_the_authors_rows_from_the_command_line(
    name: str, shared: Path, g2is: Command, tmp_path: Path
) -> None:
    golden = shared / "golden"
    case = json.loads((golden / "expected.json").read_text())[name]
    graph = golden / f"{name}.graph.npy"
    code, _, err = g2is(
        *("walk", "--pool-gradients", golden / f"{name}.pool.npy"),
        *("--target-gradients", golden / f"{name}.target.npy"),
        *("--budget", f"{case['budget_fraction'] * 100:g}%", "--method", "official", "--core-mode", case["pca_mode"]),
        *("--core-fraction", case["core_fraction"], "--delta", case["delta"], "--out", tmp_path / "run"),
        *(("--graph", graph) if graph.exists() else ()),
    )
    assert code == 0, err
    assert selected(tmp_path / "run") == case["rows"]


def test_every_kind_of_matrix_file_gives_the_same_selection(g2is: Command, tmp_path: Path) -> None:
    pool, target = matrices(tmp_path)
    save_file({"gradients": pool}, tmp_path / "pool.safetensors")
    torch.save(torch.from_numpy(pool), tmp_path / "pool.pt")
    zarr.save_array(tmp_path / "pool.zarr", pool)
    save_file({"gradients": target}, tmp_path / "target.safetensors")
    torch.save(torch.from_numpy(target), tmp_path / "target.pt")
    zarr.save_array(tmp_path / "target.zarr", target)
    found = {}
    for kind in ("npy", "safetensors", "pt", "zarr"):
        code, out, err = g2is(
            *("walk", "--pool-gradients", tmp_path / f"pool.{kind}"),
            *("--target-gradients", tmp_path / f"target.{kind}", "--budget", "5%", "--out", tmp_path / kind),
        )
        assert code == 0, err
        assert "15 of 15 rows selected" in out
        found[kind] = selected(tmp_path / kind)
    assert len(set(map(tuple, found.values()))) == 1, found


def test_all_rows_of_a_small_matrix_are_taken_whatever_the_budget_comes_to(g2is: Command, tmp_path: Path) -> None:
    matrices(tmp_path)
    np.save(tmp_path / "pool.npy", np.load(tmp_path / "pool.npy")[:50])
    files = ("--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy")
    code, out, err = g2is("walk", *files, "--method", "full", "--out", tmp_path / "run")
    assert code == 0, err
    assert "50 of 50 rows selected" in out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--method", "full"], "selection.budget: 5 changes nothing, for the selector all takes all rows"),
        (
            ["--method", "less", "--set", "selection.form=adam"],
            "selection.form: adam changes nothing, for matrices are taken as they",
        ),
    ],
)
def test_what_is_asked_for_and_changes_nothing_is_told_of(
    flags: list[str], told: str, g2is: Command, tmp_path: Path
) -> None:
    matrices(tmp_path)
    files = ["--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy"]
    code, _, err = g2is("walk", *files, "--budget", "5", *flags, "--out", tmp_path / "run")
    assert code == 0, err
    assert err.replace("\n", " ").count("changes nothing") == 1
    assert told in err.replace("\n", " ")


def test_zero_rows_are_listed_as_set_aside_only_where_they_are(g2is: Command, tmp_path: Path) -> None:
    pool, _ = matrices(tmp_path)
    pool[[4, 9]] = 0
    np.save(tmp_path / "pool.npy", pool)
    files = ("--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy")
    for name, settings, listed in (
        ("kept", ("--method", "official"), []),
        ("refused", ("--method", "official", "--set", "selection.keep_zero_rows=false"), [4, 9]),
        ("of the walk", ("--method", "g2is"), [4, 9]),
        ("of another selector", ("--method", "less"), [4, 9]),
    ):
        code, _, err = g2is("walk", *files, "--budget", "7", *settings, "--out", tmp_path / name)
        assert code == 0, err
        place = tmp_path / name / "set_aside.jsonl"
        lines = place.read_text().splitlines() if place.exists() else []
        assert [json.loads(line)["row"] for line in lines] == listed, name


def test_config_yaml_replays_a_walk_on_matrices(g2is: Command, tmp_path: Path) -> None:
    matrices(tmp_path)
    files = ("--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy")
    code, _, err = g2is(
        "walk", *files, "--budget", "20", "--method", "g2is", "--delta", "0.9", "--out", tmp_path / "one"
    )
    assert code == 0, err
    code, _, err = g2is("run", tmp_path / "one/config.yaml", "--out", tmp_path / "two")
    assert code == 0, err
    assert selected(tmp_path / "two") == selected(tmp_path / "one")
    code, _, err = g2is("run", tmp_path / "one/config.yaml", "--out", tmp_path / "three", "--set", "selection.budget=7")
    assert code == 0, err
    assert len(selected(tmp_path / "three")) == 7


def test_a_dry_run_writes_nothing(g2is: Command, tmp_path: Path) -> None:
    matrices(tmp_path)
    files = ("--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy")
    code, out, err = g2is("walk", *files, "--budget", "20", "--out", tmp_path / "run", "--dry-run")
    assert code == 0, err
    assert "300 rows of 24" in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "method",
    [
        *("less", "less-rr", "match", "design", "without-graph", "random", "full", "interaction", "spice", "bids"),
        *("tsds", "knn-kde", "knn-uniform", "uot"),
    ],
)
def test_another_method_selects_from_matrices_too(method: str, g2is: Command, tmp_path: Path) -> None:
    pool, target = matrices(tmp_path)
    target[2] = 0
    np.save(tmp_path / "target.npy", target)
    code, _, err = g2is(
        *("walk", "--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy"),
        *("--budget", "7", "--method", method, "--out", tmp_path / "run"),
    )
    assert code == 0, err
    rows = selected(tmp_path / "run")
    assert len(set(rows)) == len(rows) == (len(pool) if method == "full" else 7)
    assert "1 target rows are zero and left out" in err
    assert (tmp_path / "run/picks.json").exists()
    if method == "less-rr":
        units = [of / np.maximum(np.linalg.norm(of, axis=1, keepdims=True), 1e-30) for of in (pool, target)]
        assert rows[0] == int((units[0] @ units[1][0]).argmax())


def test_a_method_of_another_representation_and_a_graph_without_a_walk_are_refused(
    g2is: Command, tmp_path: Path
) -> None:
    matrices(tmp_path)
    files = ["--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy"]
    np.save(tmp_path / "graph.npy", np.zeros((4, 2), np.int64))
    for more, expected in (
        (("--method", "rds+"), "matrices are what stands for the rows, found hidden"),
        (("--method", "less", "--graph", tmp_path / "graph.npy"), "only the walk follows one, found the selector top"),
        (("--graph", tmp_path / "graph.npy"), "found the selector design; add method g2is"),
        (("--core-mode", "variance"), "--core-mode: expected the selector walk, which looks at it, found design"),
        (("--method", "less", "--delta", "0.9"), "--delta: expected the selector walk, which looks at it, found top"),
        (("--set", "selection.exact_budget=false"), "selection.exact_budget: expected the selector walk"),
        (("--method", "less", "--set", "selection.noise=2"), "selection.noise: expected the selector design"),
        (("--set", "selection.selector=own:x"), "expected own:x to be passed from Python, found none"),
        (("--set", "selection.noise=1e-12"), "selection.noise"),
        (("--budget", "9" * 5000), "budget"),
    ):
        code, _, err = g2is("walk", *files, "--out", tmp_path / "refused", *more)
        assert code == 2, err
        assert expected in err
        assert not (tmp_path / "refused").exists()
