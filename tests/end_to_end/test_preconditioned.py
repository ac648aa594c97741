"""Selecting over preconditioned gradients by the command on a small real run, held against plain float64 matrices."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.linalg
from s3_server import Server
from small_run import MODEL, SMALL, set_flags

import g2is as package
from g2is.demo.skills import write_target
from g2is.jobs.run_folder import settings_of
from g2is.jobs.stored_vectors import Vectors, read_stored
from g2is.store.rows import StoredRows

Command = Callable[..., tuple[int, str, str]]
MOMENTS = Path("gradients/second_moments")


@pytest.fixture
def base(finished: Path, sample: Path, tmp_path: Path) -> list[object]:
    """A `select` on a copy of the finished run's store, which has no second moment yet."""
    shutil.copytree(finished / "store", tmp_path / "store", ignore=shutil.ignore_patterns("second_moments"))
    return selecting(sample, tmp_path / "store", {})


def selecting(sample: Path, store: Path, settings: dict[str, str]) -> list[object]:
    return [
        *("select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"),
        *("--store", store, *set_flags(SMALL | settings)),
    ]


def stored(run: Path, **selection: object) -> Vectors:
    """What the run's store holds for it, read with other settings of its selection."""
    config = settings_of(run)
    of = config.selection.model_copy(update={"precondition": None, **selection})
    found = read_stored(config.model_copy(update={"selection": of}))
    assert found.vectors is not None, found.why_not
    return found.vectors


def vectors_of(rows: StoredRows, checkpoint: int) -> np.ndarray:
    """The rows under one checkpoint with their lengths, in float64."""
    units = np.split(rows.units(), rows.norm.shape[1], axis=1)[checkpoint].astype(np.float64)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-30)
    return units * np.where(rows.usable, rows.norm[:, checkpoint], 0)[:, None].astype(np.float64)


def plain_cosines(run: Path, damping: float, mix: float) -> dict[str, np.ndarray]:
    """Cosines (N, M) of pool rows with each target's, after (M + damping/k I)^(-1/2), by full matrices."""
    vectors = stored(run)
    pool, targets = vectors.pool.read(), vectors.targets
    found = dict.fromkeys(targets, 0.0)
    num_checkpoints = pool.norm.shape[1]
    for checkpoint in range(num_checkpoints):
        of_pool = vectors_of(pool, checkpoint)
        of_targets = {name: vectors_of(rows, checkpoint) for name, rows in targets.items()}
        moments = [rows.T @ rows / np.sum(rows**2) for rows in (of_pool, *of_targets.values())]
        mixed = (1 - mix) * moments[0] + mix * np.mean(moments[1:], axis=0)
        values, basis = scipy.linalg.eigh(mixed + damping / len(mixed) * np.eye(len(mixed)))
        root = basis @ np.diag(values**-0.5) @ basis.T
        units = [unit(rows @ root) for rows in (of_pool, *of_targets.values())]
        for name, of_target in zip(found, units[1:], strict=True):
            found[name] = found[name] + vectors.pool.parts[checkpoint][1] * units[0] @ of_target.T
    return {name: np.asarray(cosines) for name, cosines in found.items()}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def rows_in(run: Path) -> list[int]:
    return pq.read_table(run / "selection.parquet").column("row").to_pylist()


def check_top(run: Path, cosines: np.ndarray, num: int) -> None:
    """The selected rows are those of highest mean cosine, in order, up to what 16 bits a coordinate leave open."""
    mean, rows = cosines.mean(1), rows_in(run)
    scores = pq.read_table(run / "selection.parquet").column("score").to_numpy()
    assert len(rows) == num
    np.testing.assert_allclose(scores, mean[rows], atol=5e-5)
    assert (np.diff(mean[rows]) <= 1e-4).all()
    assert mean[rows].min() >= np.sort(mean)[-num] - 1e-4


@pytest.mark.parametrize(("damping", "mix"), [(0.1, 0.9), (0.01, 0.0), (1.0, 0.5)])
def test_trackstar_takes_what_plain_matrices_say(
    damping: float, mix: float, base: list[object], g2is: Command, tmp_path: Path
) -> None:
    run, how = tmp_path / "run", {"selection.precondition_damping": damping, "selection.precondition_mix": mix}
    code, _, err = g2is(
        *base, "--method", "trackstar", "--out", run, *set_flags({key: str(of) for key, of in how.items()})
    )
    assert code == 0, err
    (cosines,) = plain_cosines(run, damping, mix).values()
    check_top(run, cosines, 15)
    raw = stored(run)
    as_they_are = unit(vectors_of(raw.pool.read(), 0)) @ raw.targets["target"].units().T
    assert rows_in(run) != np.argsort(-as_they_are.mean(1))[:15].tolist()


def test_one_decomposition_serves_every_method_target_and_mix(
    base: list[object], g2is: Command, tmp_path: Path
) -> None:
    code, _, err = g2is(*base, "--method", "trackstar", "--out", tmp_path / "one")
    assert code == 0, err
    (moment,) = (tmp_path / "store" / MOMENTS).iterdir()
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in moment.iterdir()}
    assert np.load(moment / "vectors.npy").shape == (512, 512)
    mixed = ("--set", "selection.precondition_mix=0.4")
    runs = {
        "design": ("--method", "design-preconditioned"),
        "walk": ("--method", "g2is", "--set", "selection.precondition=pool", *mixed),
        "match": ("--method", "match", "--set", "selection.precondition=pool"),
        "rr": ("--method", "less-rr", "--set", "selection.precondition=pool", "--set", "selection.form=momentum-free"),
        "core": ("--method", "without-graph", "--set", "selection.precondition=pool", *mixed),
    }
    for name, flags in runs.items():
        code, _, err = g2is(*base, *flags, "--out", tmp_path / name)
        assert code == 0, err
        assert len(rows_in(tmp_path / name)) == 15
        seconds = json.loads((tmp_path / name / "summary.json").read_text())["sittings"][0]["seconds"]
        assert "second moment" not in seconds
    assert "second moment" in json.loads((tmp_path / "one/summary.json").read_text())["sittings"][0]["seconds"]
    after = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in moment.iterdir()}
    assert after == before
    # another form has one of its own; gradients as they are need none
    assert g2is(*base, "--method", "less", "--out", tmp_path / "less")[0] == 0
    assert len(list((tmp_path / "store" / MOMENTS).iterdir())) == 1
    assert g2is(*base, "--method", "less", "--set", "selection.precondition=pool", "--out", tmp_path / "p")[0] == 0
    assert len(list((tmp_path / "store" / MOMENTS).iterdir())) == 2
    code, out, _ = g2is("store", "ls", tmp_path / "store")
    assert code == 0
    assert out.count("second moment") == 2
    found = json.loads(g2is("store", "ls", tmp_path / "store", "--json")[1])
    assert set(found["second_moments"]) == {of.name for of in (tmp_path / "store" / MOMENTS).iterdir()}
    assert g2is("store", "gc", tmp_path / "store", "--yes")[0] == 0
    assert len(list((tmp_path / "store" / MOMENTS).iterdir())) == 2
    code, out, err = g2is("verify", tmp_path / "one")
    assert code == 0, out + err


def test_design_over_preconditioned_rows_is_design_over_plain_ones_made_by_hand(
    base: list[object], g2is: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert g2is(*base, "--method", "design-preconditioned", "--out", run)[0] == 0
    vectors = stored(run)
    pool, target = vectors_of(vectors.pool.read(), 0), vectors_of(vectors.targets["target"], 0)
    values, basis = scipy.linalg.eigh(pool.T @ pool / np.sum(pool**2))
    root = basis @ np.diag((values + 0.1 / len(values)) ** -0.5) @ basis.T
    np.save(tmp_path / "pool.npy", unit(pool @ root))
    np.save(tmp_path / "target.npy", unit(target @ root))
    code, _, err = g2is(
        *("walk", "--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy"),
        *("--budget", 15, "--out", tmp_path / "plain"),
    )
    assert code == 0, err
    # row for row but for what 16 bits a coordinate may turn
    assert len(set(rows_in(run)) & set(rows_in(tmp_path / "plain"))) >= 14
    assert rows_in(run)[:5] == rows_in(tmp_path / "plain")[:5]
    # and the same rows as matrices that are preconditioned by the command itself
    np.save(tmp_path / "pool.npy", pool)
    np.save(tmp_path / "target.npy", target)
    code, _, err = g2is(
        *("walk", "--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "target.npy"),
        *("--budget", 15, "--method", "design-preconditioned", "--out", tmp_path / "matrices"),
    )
    assert code == 0, err
    assert rows_in(tmp_path / "matrices") == rows_in(run)


def test_shards_of_another_length_score_the_same(
    base: list[object], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    assert g2is(*base, "--method", "trackstar", "--out", tmp_path / "run")[0] == 0
    other = selecting(sample, tmp_path / "other-store", {"execution.shard_rows": "17"})
    code, _, err = g2is(*other, "--method", "trackstar", "--out", tmp_path / "other")
    assert code == 0, err
    run, other_run = (
        pq.read_table(tmp_path / name / "scores.parquet").column("similarity.target").to_numpy()
        for name in ("run", "other")
    )
    np.testing.assert_allclose(run, other_run, atol=3e-4)  # gradients in other batches have other roundings


def test_damage_is_seen_and_made_good(base: list[object], g2is: Command, tmp_path: Path) -> None:
    command = [*base, "--method", "trackstar", "--out", tmp_path / "run"]
    assert g2is(*command)[0] == 0
    (moment,) = (tmp_path / "store" / MOMENTS).iterdir()
    before = {file: file.read_bytes() for file in moment.iterdir()}
    rows = rows_in(tmp_path / "run")
    for file in (moment / "vectors.npy", moment / "digests.json"):  # of every file: test_second_moments.py
        content = before[file]
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
        code, out, err = g2is("verify", tmp_path / "run")
        assert code == 2
        assert moment.name in out + err
        explained = package.explain(tmp_path / "run", [str(rows[0])])[0]
        assert any("decomposed second moment" in text for text in explained["unknown"])
        code, _, err = g2is(*base, "--method", "trackstar", "--out", tmp_path / f"after-{file.name}")
        assert code == 0, err
        assert "decomposed anew from stored rows" in err
        assert {path: path.read_bytes() for path in moment.iterdir()} == before
        assert rows_in(tmp_path / f"after-{file.name}") == rows
        file.unlink()
        code, out, err = g2is("verify", tmp_path / "run", "--repair")
        assert code == 0, out + err
        assert {path: path.read_bytes() for path in moment.iterdir()} == before


def test_explain_and_report_look_at_the_rows_that_the_method_looked_at(
    base: list[object], g2is: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _, err = g2is(*base, "--method", "trackstar", "--out", run)
    assert code == 0, err
    (cosines,) = plain_cosines(run, 0.1, 0.9).values()
    row = rows_in(run)[0]
    (explained,) = package.explain(run, [str(row)])
    assert "unknown" not in explained
    assert explained["nearest_target"][0]["cosine"] == pytest.approx(cosines[row].max(), abs=1e-3)
    code, _, err = g2is("report", run)
    assert code == 0, err
    on_map = pq.read_table(run / "map.parquet").column("similarity_to_target").to_numpy()
    np.testing.assert_allclose(on_map, cosines.max(1), atol=1e-3)
    assert "by the pool's second moment" in (run / "report.html").read_text()


def test_several_targets_each_count_as_much(base: list[object], sample: Path, g2is: Command, tmp_path: Path) -> None:
    write_target(tmp_path / "few.jsonl", num_rows=3)
    targets = ["--target", f"many={sample / 'target.jsonl'}", "--target", f"few={tmp_path / 'few.jsonl'}"]
    run = tmp_path / "run"
    command = [base[0], base[1], *targets, *base[3:], "--method", "trackstar", "--out", run]
    code, _, err = g2is(*command)
    assert code == 0, err
    by_hand = plain_cosines(run, 0.1, 0.9)
    scores = pq.read_table(run / "scores.parquet")
    for name, cosines in by_hand.items():
        np.testing.assert_allclose(scores.column(f"similarity.{name}").to_numpy(), cosines.mean(1), atol=5e-5)


def test_candidates_are_the_nearest_preconditioned_rows(base: list[object], g2is: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ("--method", "design-preconditioned", "--set", "selection.candidates=40")
    code, _, err = g2is(*base, *flags, "--out", run)
    assert code == 0, err
    (cosines,) = plain_cosines(run, 0.1, 0.0).values()
    looked_at = [
        row
        for row, score in enumerate(pq.read_table(run / "scores.parquet").column("similarity.target").to_pylist())
        if score is not None
    ]
    assert len(looked_at) == 40
    best = cosines.max(1)
    assert best[looked_at].min() >= np.sort(best)[-40] - 2e-4
    assert set(rows_in(run)) <= set(looked_at)


@pytest.mark.parametrize(
    "settings",
    [
        {"gradients.storage": "int8"},
        {"gradients.storage": "sign"},
        {"warmup.checkpoints": "each", "warmup.epochs": "2"},
    ],
    ids=["int8", "sign", "each"],
)
def test_rows_in_fewer_bits_and_of_several_checkpoints(
    settings: dict[str, str], sample: Path, g2is: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _, err = g2is(*selecting(sample, tmp_path / "another", settings), "--method", "trackstar", "--out", run)
    assert code == 0, err
    assert len(list((tmp_path / "another" / MOMENTS).iterdir())) == (2 if "warmup.epochs" in settings else 1)
    (cosines,) = plain_cosines(run, 0.1, 0.9).values()
    check_top(run, cosines, 15)
    assert g2is("verify", run)[0] == 0


def test_a_read_only_store_keeps_it_beside_the_run(
    base: list[object], g2is: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert g2is(*base, "--out", tmp_path / "other")[0] == 0
    real, store = os.access, str(tmp_path / "store")
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(store) and real(path, mode))
    run = tmp_path / "run"
    code, _, err = g2is(*base, "--method", "trackstar", "--out", run)
    assert code == 0, err
    assert "the decomposed second moment of its rows is kept in" in err
    assert not (tmp_path / "store" / MOMENTS).exists()
    (kept,) = (run / "second_moments").iterdir()
    assert "unknown" not in package.explain(run, [str(rows_in(run)[0])])[0]
    assert g2is("verify", run)[0] == 0
    content = (kept / "values.npy").read_bytes()
    (kept / "values.npy").write_bytes(content[:-1])
    assert g2is("verify", run)[0] == 2
    assert g2is("verify", run, "--repair")[0] == 0
    assert (kept / "values.npy").read_bytes() == content


def test_what_nobody_would_read_is_refused_by_name(base: list[object], g2is: Command, tmp_path: Path) -> None:
    for flags, expected in (
        (("--method", "rds+", "--set", "selection.precondition=pool"), "expected the representation gradient"),
        (("--method", "random", "--set", "selection.precondition=pool"), "expected the representation gradient"),
        (
            (*set_flags({"selection.selector": "random", "selection.precondition": "pool"}),),
            "expected a selector that looks at rows, found random",
        ),
        (("--set", "selection.precondition_mix=0.5"), "selection.precondition_mix: expected selection.precondition"),
        (("--set", "selection.precondition_damping=0.5"), "expected selection.precondition beside it, found none"),
        (("--set", "selection.precondition=target"), "selection.precondition: expected 'pool'"),
        (("--set", "selection.precondition=pool", "--set", "selection.precondition_damping=0"), "precondition_damping"),
        (("--set", "selection.precondition=pool", "--set", "selection.precondition_mix=1.5"), "precondition_mix"),
    ):
        code, out, err = g2is(*base, *flags, "--out", tmp_path / "run")
        assert code == 2, flags
        assert expected in " ".join((out + err).split()), out + err
        assert "Traceback" not in err
        assert not (tmp_path / "run").exists()
    np.save(tmp_path / "pool.npy", np.eye(8, dtype=np.float32))
    np.save(tmp_path / "graph.npy", np.zeros((8, 2), np.int64))
    code, out, err = g2is(
        *("walk", "--pool-gradients", tmp_path / "pool.npy", "--target-gradients", tmp_path / "pool.npy"),
        *("--graph", tmp_path / "graph.npy", "--method", "g2is", "--set", "selection.precondition=pool"),
        *("--budget", 2, "--out", tmp_path / "run"),
    )
    assert code == 2
    assert "expected no selection.precondition beside it" in " ".join((out + err).split())


def test_matrices_with_zero_rows_of_any_float_are_preconditioned(g2is: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pool, target = rng.normal(size=(90, 16)) + rng.normal(size=16), rng.normal(size=(6, 16))
    pool[4], target[2] = 0, 0
    found = {}
    for name, scale, dtype in (("f4", 1.0, np.float32), ("f8", 1.0, np.float64), ("huge", 1e120, np.float64)):
        np.save(tmp_path / f"{name}.npy", (pool * scale).astype(dtype))
        np.save(tmp_path / f"{name}-target.npy", (target * scale).astype(dtype))
        files = ("--pool-gradients", tmp_path / f"{name}.npy", "--target-gradients", tmp_path / f"{name}-target.npy")
        code, _, err = g2is("walk", *files, "--budget", 9, "--method", "trackstar", "--out", tmp_path / name)
        assert code == 0, err
        assert "1 target rows are zero and left out" in err
        assert json.loads((tmp_path / name / "set_aside.jsonl").read_text())["row"] == 4
        found[name] = rows_in(tmp_path / name)
    assert found["f4"] == found["f8"] == found["huge"]
    moments = [rows.T @ rows / np.sum(rows**2) for rows in (pool, target)]
    values, basis = scipy.linalg.eigh(0.1 * moments[0] + 0.9 * moments[1] + 0.1 / 16 * np.eye(16))
    root = basis @ np.diag(values**-0.5) @ basis.T
    check_top(tmp_path / "f8", unit(pool @ root) @ unit(target[np.arange(6) != 2] @ root).T, 9)


def test_a_store_in_a_bucket_holds_it_too(
    server: Server,
    finished: Path,
    sample: Path,
    g2is: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, store = server.url(), finished / "store"
    files = {of.relative_to(store).as_posix(): of.read_bytes() for of in store.rglob("*") if of.is_file()}
    server.put(url, {name: content for name, content in files.items() if not name.endswith(".lock")})
    command = selecting(sample, tmp_path, {})
    command[command.index("--store") + 1] = url
    code, _, err = g2is(*command, "--method", "trackstar", "--out", tmp_path / "run")
    assert code == 0, err
    kept = [key for key in server.keys(url) if key.startswith(str(MOMENTS))]
    assert len(kept) == 4
    monkeypatch.setenv("G2IS_CACHE", str(tmp_path / "another-machine"))
    server.fail_writes(0, "403 Forbidden")
    code, _, err = g2is(*command, "--method", "trackstar", "--out", tmp_path / "again")
    assert code == 0, err
    assert "second moment" not in json.loads((tmp_path / "again/summary.json").read_text())["sittings"][0]["seconds"]
    assert rows_in(tmp_path / "again") == rows_in(tmp_path / "run")
    assert "second moment" in g2is("store", "ls", url)[1]
