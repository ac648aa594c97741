"""Gradients under several warm-ups, by the command on a small real run, held against runs of single seeds."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from s3_server import Server
from small_run import MODEL, SMALL, select_small, set_flags

from g2is.errors import ModelError
from g2is.jobs.run_folder import settings_of
from g2is.jobs.stored_vectors import Vectors, read_stored
from g2is.warmup.seeds import seed_folders, seeds_from
from g2is.warmup.train import finished_warmup, train_warmup

Command = Callable[..., tuple[int, str, str]]
NUM = {"selection.warmup_seeds": "2"}
ALL = {"selection.selector": "top", "selection.duplicate_threshold": "null"}


def selecting(sample: Path, out: Path, settings: dict[str, str], *more: object) -> list[object]:
    files = ["select", sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--budget", "10%"]
    return [*files, "--out", out, *set_flags(SMALL | settings), *more]


@pytest.fixture(scope="module")
def of_two(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run over gradients of two warm-ups, its store in RUN/store."""
    return select_small(
        sample,
        tmp_path_factory.mktemp("seeds") / "run",
        execution={"shard_rows": 64, "report": False},
        selection={"selector": "top", "duplicate_threshold": None, "warmup_seeds": 2},
    )


def vectors(run: Path) -> Vectors:
    found = read_stored(settings_of(run))
    assert found.vectors is not None, found.why_not
    return found.vectors


def cosines(run: Path) -> np.ndarray:
    """Of the run's pool rows with its target's, as they are stored, in float64."""
    of = vectors(run)
    pool, target = of.units(np.arange(len(of.pool))), of.targets["target"].units().astype(np.float64)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    return np.asarray(pool @ target.T)


def test_rows_are_compared_by_the_mean_of_the_cosines_under_each_warm_up(
    of_two: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    assert list(seed_folders(of_two / "store/warmup")) == seeds_from(0, 2) == [0, 1000]
    single = []
    for seed in (0, 1000):
        out = tmp_path / f"{seed}"
        code, _, err = g2is(*selecting(sample, out, ALL | {"warmup.seed": str(seed)}))
        assert code == 0, err
        single.append(cosines(out))
        adapters = [
            (of / "epoch-1/adapter_model.safetensors").read_bytes()
            for of in (out / "store/warmup", of_two / f"store/warmup/seed-{seed}")
        ]
        assert adapters[0] == adapters[1]  # the very warm-up of that seed
    mean = np.mean(single, axis=0)
    np.testing.assert_allclose(cosines(of_two), mean, atol=5e-4)  # of 16 bits a coordinate
    assert np.abs(single[0] - single[1]).max() > 0.05  # seeds do differ
    chosen = pq.read_table(of_two / "selection.parquet")
    rows, scores = chosen.column("row").to_numpy(), chosen.column("score").to_numpy()
    np.testing.assert_allclose(scores, mean.mean(1)[rows], atol=5e-4)
    assert mean.mean(1)[rows].min() >= np.sort(mean.mean(1))[-len(rows)] - 1e-3


def test_it_is_said_before_what_it_costs(sample: Path, g2is: Command, tmp_path: Path) -> None:
    said = []
    for num in (1, 3):
        code, out, err = g2is(
            *selecting(sample, tmp_path / "run", {"selection.warmup_seeds": str(num)}, "--dry-run"),
        )
        assert code == 0, err
        said.append(out)
    assert "45 rows (skipped if the store has one)" in said[0]
    assert "45 rows, 3 times, each with a seed of its own (skipped if the store has them)" in said[1]
    assert "under 3 warm-ups together" in said[1]
    assert "under" not in said[0]
    assert not (tmp_path / "run").exists()


def test_too_little_memory_for_a_later_warm_up_leaves_the_finished_ones(
    sample: Path, g2is: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_alone(model: Any, rows: Any, place: Path, *more: Any, **named: Any) -> Any:
        if place.name != "seed-0":
            raise ModelError("expected memory for 8 examples, found too little")
        return train_warmup(model, rows, place, *more, **named)

    command = selecting(sample, tmp_path / "run", NUM | {"selection.selector": "top"})
    with monkeypatch.context() as full:
        full.setattr("g2is.jobs.warm_up.train_warmup", first_alone)
        code, _, err = g2is(*command)
    assert code == 2
    assert "found too little" in err
    assert "warmup that are finished are kept: the same command goes on from there; for other settings, name" in err
    kept = tmp_path / "run/store/warmup/seed-0"
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    assert kept / "complete.json" in before
    (kept / "trainer").mkdir()  # as a kill leaves it
    assert finished_warmup(kept) is not None
    assert (kept / "trainer").exists()  # whoever only looks removes nothing
    code, out, err = g2is(*command)
    assert code == 0, err
    assert "warm up 1 of 2" not in out + err
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before
    assert not (kept / "trainer").exists()


def test_a_store_of_one_warm_up_refuses_several_and_the_other_way(
    of_two: Path, finished: Path, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    code, _, err = g2is(*selecting(sample, tmp_path / "a", NUM, "--store", finished / "store"))
    assert code == 2
    assert "selection.warmup_seeds: there 1, asked for 2" in err
    code, _, err = g2is(*selecting(sample, tmp_path / "b", {}, "--store", of_two / "store"))
    assert code == 2
    assert "selection.warmup_seeds: there 2, asked for 1" in err


@pytest.mark.parametrize("command", ["dry-run", "plan"])
def test_a_store_in_a_bucket_whose_second_warm_up_was_killed_is_known_by_its_first(
    command: str, of_two: Path, sample: Path, server: Server, g2is: Command, tmp_path: Path
) -> None:
    url, kept = server.url(), ("manifest.json", "manifest.copy.json", "warmup/seed-0/sample.json")
    server.put(url, {name: (of_two / "store" / name).read_bytes() for name in kept})

    def ask(settings: dict[str, str]) -> tuple[int, str, str]:
        asked = selecting(sample, tmp_path / "run", ALL | NUM | settings, "--store", url)
        return g2is(*asked, "--dry-run") if command == "dry-run" else g2is("plan", *asked[1:])

    code, _, err = ask({})
    assert code == 0, err
    code, _, err = ask({"warmup.weight_decay": "0.5"})
    assert code == 2
    assert f"{url}: expected a store made with the settings asked for, found 1 that differ" in " ".join(err.split())
    assert "warmup.weight_decay: there 0.0, asked for 0.5" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--adapter", "x", *set_flags(NUM)), "expected 1 beside warmup.adapter, which is one adapter"),
        (
            set_flags(NUM | {"selection.representation": "hidden"}),
            "selection.warmup_seeds: expected the representation gradient, whose rows it is for, found hidden",
        ),
        (set_flags({"selection.warmup_seeds": "0"}), "greater than or equal to 1"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    flags: tuple[str, ...], message: str, sample: Path, g2is: Command, tmp_path: Path
) -> None:
    code, _, err = g2is(*selecting(sample, tmp_path / "run", {}, *flags))
    assert code == 2
    assert message in err


def test_matrices_have_no_warm_ups(g2is: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.eye(4, dtype=np.float32))
    files = ("--pool-gradients", tmp_path / "m.npy", "--target-gradients", tmp_path / "m.npy")
    code, _, err = g2is("walk", *files, "--out", tmp_path / "run", "--budget", 1, *set_flags(NUM))
    assert code == 2
    assert "selection.warmup_seeds: matrices are gradients that were taken already" in err


@pytest.mark.parametrize(
    "damaged", ["seed-1000/epoch-1/adapter_model.safetensors", "complete.json", "seed-0/sample.json"]
)
def test_what_is_damaged_of_them_is_found_and_made_good(
    damaged: str, of_two: Path, g2is: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(of_two, run)
    assert g2is("verify", run)[0] == 0
    place = run / "store/warmup" / damaged
    before = {file: file.read_bytes() for file in (run / "store").rglob("*") if file.is_file() and file.name != ".lock"}
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    code, out, err = g2is("verify", run)
    assert code != 0
    assert damaged.rpartition("/")[2] in out + err
    code, out, err = g2is("verify", run, "--repair")
    assert code == 0, out + err
    for file, expected in before.items():
        assert file.read_bytes() == expected, file


def test_a_store_s_adapters_are_listed(of_two: Path, g2is: Command) -> None:
    found = json.loads(g2is("store", "ls", of_two / "store", "--json")[1])
    assert set(found["adapters"]) == {"seed-0/epoch-1", "seed-1000/epoch-1"}
