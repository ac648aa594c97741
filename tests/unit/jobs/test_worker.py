"""A worker makes shards of a plan that another process holds, and refuses what is not as the planner has it."""

from functools import partial
from pathlib import Path

import pytest

import g2is.demo
from g2is.config import Config
from g2is.config.io import parse
from g2is.demo.skills import write_pool, write_target
from g2is.errors import FingerprintError, StoreError
from g2is.jobs.representation import maker_of, wanted_rows
from g2is.jobs.select import _open, tokenize
from g2is.jobs.worker import open_worker

MODEL = Path(g2is.demo.__file__).parent / "model"


def configuration(folder: Path) -> Config:
    values = {
        "pool": folder / "pool.jsonl",
        "targets": {"one": folder / "one.jsonl"},
        "out": folder / "run",
        "model": {"name": str(MODEL)},
        "selection": {"method": "bm25"},
        "execution": {"shard_rows": 8, "device": "cpu"},
    }
    config: Config = parse(Config, values, "a test")
    return config


def test_a_worker_makes_each_shard_once_without_a_lock_and_refuses_other_files(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=20)
    write_target(tmp_path / "one.jsonl", num_rows=5)
    config = configuration(tmp_path)
    open_here = partial(open_worker, config.model_dump_json(), "cpu", 1)
    with pytest.raises(StoreError, match=r"expected the tokens of pool and targets|expected the store"):
        open_here(pytest.fail)
    with _open(config, None, True, measures=False) as (prepared, store, folder):
        examples = tokenize(prepared, store, folder)
        maker = maker_of("lexical", prepared, folder)
        wanted = wanted_rows(maker, store, examples)[1]
        jobs = [wanted.job(shard) for shard in wanted.plan(pytest.fail)]
        worker, told = open_here(pytest.fail), list[int]()
        for job in (*jobs, jobs[0]):
            worker.make(job, told.append)
            assert sum(told) == examples.pool.num_tokens[list(job.rows)].sum()
            told.clear()
        stamp = wanted.table.marker_place(0).stat().st_mtime_ns
        open_here(pytest.fail).make(jobs[0], told.append)
        assert wanted.table.marker_place(0).stat().st_mtime_ns == stamp
        other = config.model_copy(update={"representation": type(config.representation)(max_terms=3)})
        stranger = open_worker(other.model_dump_json(), "cpu", 1, pytest.fail)
        with pytest.raises(FingerprintError):
            stranger.make(jobs[0], told.append)
        write_pool(tmp_path / "pool.jsonl", num_rows=21)
        with pytest.raises(StoreError, match="expected the tokens of pool and targets"):
            open_here(pytest.fail)
