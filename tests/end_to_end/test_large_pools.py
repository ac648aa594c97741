"""Selecting among candidates, and rows stored in 8 bits or 1, by the command on a small real run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import MODEL, SMALL, set_flags

import g2is as package
from g2is.selection.nearest import Nearest
from g2is.selection.similarity import UnitRows
from g2is.store.matrix import RowTable

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def base(finished: Path, sample: Path, tmp_path: Path) -> list[object]:
    """A `select` on a copy of the finished run's store."""
    shutil.copytree(finished / "store", tmp_path / "store")
    return [
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"),
        *("--store", tmp_path / "store", *set_flags(SMALL)),
    ]


def rows_in(run: Path) -> list[int]:
    return pq.read_table(run / "selection.parquet").column("row").to_pylist()


@pytest.mark.parametrize("method", ["design", "g2is"])
def test_candidates_are_all_that_is_looked_at(
    method: str, base: list[object], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code, _, err = g2is(*base, "--method", method, "--set", "selection.candidates=40", "--out", out)
    assert code == 0, err
    found = package.extract_gradients(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=MODEL,
        out=tmp_path / "other",
        store=tmp_path / "store",
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
    )
    nearest = Nearest(len(found.pool), {"t": found.target})
    nearest.look(np.arange(len(found.pool)), UnitRows(found.pool))
    candidates = nearest.rows(40)
    chosen = rows_in(out)
    assert len(chosen) == 15
    assert set(chosen) <= set(candidates.tolist())
    scores = pq.read_table(out / "scores.parquet")
    looked_at = [row for row, score in enumerate(scores.column(2).to_pylist()) if score is not None]
    assert looked_at == candidates.tolist()
    # the same from matrices of the candidates alone
    np.save(tmp_path / "pool.npy", found.pool[candidates])
    np.save(tmp_path / "whole.npy", found.pool)
    np.save(tmp_path / "target.npy", found.target)
    for name, more in (("pool", ()), ("whole", ("--set", "selection.candidates=40"))):
        code, _, err = g2is(
            *("walk", "--pool-gradients", tmp_path / f"{name}.npy", "--target-gradients", tmp_path / "target.npy"),
            *("--budget", 15, "--method", method, "--out", tmp_path / name, *more),
        )
        assert code == 0, err
    assert candidates[rows_in(tmp_path / "pool")].tolist() == rows_in(tmp_path / "whole")
    if method == "design":  # the walk takes matrices' rows that oppose the target's otherwise
        assert rows_in(tmp_path / "whole") == chosen
    nearest_ids = [
        pq.read_table(tmp_path / name / "selection.parquet").column("nearest_target_id").to_pylist()
        for name in ("pool", "whole")
    ]
    assert nearest_ids[0] == nearest_ids[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "selection.candidates=14"], "expected at least the 15 rows of target 'target''s budget"),
        (["--set", "selection.candidates=-3"], "selection.candidates: expected greater than or equal to 1, found"),
        (["--set", "selection.candidates=40", "--method", "less"], "expected the selector design, which looks at it"),
        (["--set", "gradients.storage=int4"], "gradients.storage: expected 'float16', 'int8' or 'sign'"),
        (
            ["--set", "gradients.storage=sign", "--set", "gradients.projection.dim=500"],
            "storage sign: expected gradients.projection.dim to be a multiple of 8",
        ),
        (["--set", "gradients.storage=int8"], "gradients.storage: there float16, asked for int8"),
    ],
)
def test_what_cannot_be_is_refused_in_one_message_and_nothing_is_written(
    more: list[str], message: str, base: list[object], g2is: Command, tmp_path: Path
) -> None:
    code, out, err = g2is(*base, *more, "--out", tmp_path / "run")
    assert code == 2
    assert message in " ".join((out + err).split())
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_graph_beside_candidates_is_refused(g2is: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "pool.npy", np.eye(8, dtype=np.float32))
    np.save(tmp_path / "graph.npy", np.zeros((8, 2), np.int64))
    code, out, err = g2is(
        *("walk", "--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "pool.npy"),
        *("--graph", tmp_path / "graph.npy", "--method", "g2is", "--set", "selection.candidates=4"),
        *("--budget", 2, "--out", tmp_path / "run"),
    )
    assert code == 2
    assert "expected no selection.candidates beside it" in " ".join((out + err).split())


@pytest.mark.parametrize(("storage", "dtype", "width"), [("int8", np.int8, 512), ("sign", np.uint8, 64)])
def test_a_run_stores_and_selects_rows_in_fewer_bits(
    storage: str, dtype: type, width: int, base: list[object], g2is: Command, tmp_path: Path
) -> None:
    exact = tmp_path / "exact"
    assert g2is(*base, "--out", exact)[0] == 0
    command = [*base, "--out", tmp_path / "run", "--set", f"gradients.storage={storage}"]
    command[command.index("--store") + 1] = tmp_path / "fewer"
    code, _, err = g2is(*command)
    assert code == 0, err
    assert json.loads((tmp_path / "fewer/manifest.json").read_text())["fingerprint"]["gradients.storage"] == storage
    marker = json.loads((tmp_path / "fewer/gradients/pool/markers/000000.json").read_text())
    for form in ("less", "momentum-free"):
        of = marker["arrays"][f"epoch-1/{form}/rows"]
        assert (of["dtype"], of["row_shape"]) == (np.dtype(dtype).name, [width])
    chosen, of_exact = rows_in(tmp_path / "run"), rows_in(exact)
    assert len(chosen) == 15
    assert len(set(chosen) & set(of_exact)) >= {"int8": 13, "sign": 5}[storage]
    # a shard that is lost is made again to the same bytes; verify finds nothing; another method needs no gradient
    before = {path: path.read_bytes() for path in (tmp_path / "fewer/gradients").rglob("*") if path.is_file()}
    (tmp_path / "fewer/gradients/pool/markers/000001.json").unlink()
    assert g2is(*command)[0] == 0
    assert {path: path.read_bytes() for path in before} == before
    assert g2is("verify", tmp_path / "run")[0] == 0
    command[command.index("--out") + 1] = tmp_path / "less"
    code, _, err = g2is(*command, "--method", "less")
    assert code == 0, err
    assert "gradients of" not in err
    table = RowTable(tmp_path / "fewer/gradients/pool", marker["fingerprint"], 64)
    assert table.width("epoch-1/less/rows") == width
