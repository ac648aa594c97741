"""A worker of a comparison does a trial once, tells of all its tokens, and refuses what is of another."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import g2is.demo
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.demo.skills import write_pool, write_target
from g2is.errors import StoreError
from g2is.jobs.trial_worker import open_trial_worker
from g2is.jobs.trials import open_trials
from g2is.progress import Silent

MODEL = Path(g2is.demo.__file__).parent / "model"


def configuration(folder: Path) -> CompareConfig:
    values = {
        "pool": folder / "pool.jsonl",
        "targets": {"one": folder / "target.jsonl"},
        "tests": {"one": folder / "test.jsonl"},
        "out": folder / "out",
        "model": {"name": str(MODEL)},
        "methods": ["bm25"],
        "budgets": ["20%"],
        "tuning": {"learning_rate": 2e-3, "lora": {"rank": 2}, "epochs": 2},
        "evaluation": {"generate": False},
        "execution": {"device": "cpu"},
    }
    config: CompareConfig = parse(CompareConfig, values, "a test")
    return config


@pytest.mark.slow
def test_a_trial_is_done_once_and_others_are_refused(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=12)
    write_target(tmp_path / "target.jsonl", num_rows=3)
    write_target(tmp_path / "test.jsonl", num_rows=3, seed=5)
    config = configuration(tmp_path)
    open_here = partial(open_trial_worker, config.model_dump_json(), "cpu", 1)
    with pytest.raises(StoreError, match="expected the tokens of pool, targets and tests"):
        open_here(pytest.fail)
    bench = open_trials(config, Silent()).bench
    some, every = np.array([1, 4, 7]), np.arange(12)
    job = bench.job(3, "some", ["one"], some, 2, 5)
    whole = bench.job(4, "all", ["one"], None, 1, 5)
    untuned = bench.job(5, "untuned", ["one"], None, 1, None)
    assert bench.job(9, "all", ["one"], every, 1, 5).folder == whole.folder, "of all rows, however it is said"
    assert len({job.folder, whole.folder, untuned.folder}) == 3
    of_test = int(bench.tests["one"].table.num_tokens.sum())
    tokens = {job: int(bench.pool.num_tokens[some].sum()) * 2 + of_test, untuned: of_test}
    worker, told = open_here(pytest.fail), list[int]()
    found = []
    for again in (False, True):
        for of in (job, untuned):
            worker.make(of, told.append)
            assert sum(told) == tokens[of]
            assert min(told) >= 0
            told.clear()
        found.append({path: path.stat().st_mtime_ns for path in tmp_path.glob("out/tuned/*/*.parquet")})
        assert len(found[-1]) == 2, again
    assert found[0] == found[1]
    assert np.isfinite(bench.tested(job, "one").evaluation.losses).all()
    assert bench.tested(job, "one").num_steps > bench.tested(untuned, "one").num_steps == 0
    for other in (replace(job, rows=(1, 4, 8)), replace(job, seed=6), replace(job, epochs=1), replace(untuned, seed=5)):
        with pytest.raises(StoreError, match="expected a job of the model, the files and the settings"):
            worker.make(other, told.append)
    settings = config.tuning.model_copy(update={"learning_rate": 1e-3})
    stranger = open_trial_worker(config.model_copy(update={"tuning": settings}).model_dump_json(), "cpu", 1, print)
    with pytest.raises(StoreError, match="cell some: expected a job of"):
        stranger.make(job, told.append)
    assert not told
    write_target(tmp_path / "test.jsonl", num_rows=4, seed=6)
    with pytest.raises(StoreError, match="expected the tokens of pool, targets and tests"):
        open_here(pytest.fail)
