from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2is.engine.job import ShardJob
from g2is.engine.local import LocalEngine
from g2is.engine.wanted import WantedRows
from g2is.errors import StoreError
from g2is.model.batches import Row
from g2is.store.matrix import RowTable, Shard

KEYS = np.random.default_rng(0).integers(0, 256, (10, 16), np.uint8)


class Numbers:
    """Examples whose tokens are their own number; remembers which were read."""

    def __init__(self) -> None:
        self.keys = KEYS
        self.num_tokens = np.arange(10, dtype=np.int32)
        self.seen: list[list[int]] = []

    def token_rows(self, rows: np.ndarray) -> list[Row]:
        self.seen.append(rows.tolist())
        return [(np.array([row], np.int32), np.ones(1, bool)) for row in rows]


def make_wanted(store: Path) -> WantedRows:
    return WantedRows(store, "numbers", "pool", Numbers(), RowTable(store / "numbers/pool", "f", 4))


def work(job: ShardJob, token_rows: list[Row]) -> Shard:
    return Shard(KEYS[list(job.rows)], {"number": np.concatenate([ids for ids, _ in token_rows])})


def test_each_job_is_yielded_once_its_shard_is_stored(tmp_path: Path) -> None:
    wanted = make_wanted(tmp_path)
    planned = wanted.plan(pytest.fail)
    assert wanted.num_tokens(planned) == 45
    jobs = [wanted.job(shard) for shard in planned]
    stored = tmp_path / "numbers/pool/markers"
    for number, job in enumerate(LocalEngine(wanted, work).run(jobs)):
        assert job == jobs[number]
        assert (stored / f"{number:06d}.json").exists()
    assert wanted.table.read("number", wanted.table.positions_of(KEYS)).tolist() == list(range(10))


def test_jobs_are_taken_one_ahead_and_a_failing_one_keeps_those_before(tmp_path: Path) -> None:
    wanted = make_wanted(tmp_path)
    taken: list[int] = []

    def jobs() -> Iterator[ShardJob]:
        for shard in planned:
            taken.append(shard.number)
            yield wanted.job(shard)

    def fail_at_the_last(job: ShardJob, token_rows: list[Row]) -> Shard:
        assert taken == list(range(min(job.number + 2, 3)))
        if job.number == 2:
            raise ZeroDivisionError
        return work(job, token_rows)

    planned = wanted.plan(pytest.fail)
    with pytest.raises(ZeroDivisionError):
        list(LocalEngine(wanted, fail_at_the_last).run(jobs()))
    left = make_wanted(tmp_path)
    planned = left.plan(pytest.fail)
    assert [(shard.number, shard.rows.tolist()) for shard in planned] == [(2, [8, 9])]
    left.make(planned, LocalEngine(left, work))
    assert sorted(path.name for path in (tmp_path / "numbers/pool").iterdir()) == ["key", "markers", "number"]


def test_no_job_needs_nothing(tmp_path: Path) -> None:
    assert not list(LocalEngine(make_wanted(tmp_path), work).run([]))
    assert not list(tmp_path.iterdir())


def test_an_engine_that_leaves_a_shard_out_is_found_and_the_plan_stays(tmp_path: Path) -> None:
    class Lazy(LocalEngine):
        def run(self, jobs: Iterable[ShardJob]) -> Iterator[ShardJob]:
            return super().run(job for job in jobs if job.number != 1)

    wanted = make_wanted(tmp_path)
    with pytest.raises(AssertionError, match=r"left out shards \[1\]"):
        wanted.make(wanted.plan(pytest.fail), Lazy(wanted, work))
    assert [shard.number for shard in make_wanted(tmp_path).plan(pytest.fail)] == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"store": "/elsewhere"}, "expected a job of store .*, found /elsewhere"),
        ({"fingerprint": "g"}, "shard 1: expected a job of fingerprint f, found g"),
        ({"kind": "target"}, "kind pool, found target"),
        ({"checkpoints": ("epoch-1",)}, r"checkpoints \(\), found \('epoch-1',\)"),
        ({"forms": ("less",)}, r"forms \(\), found"),
        ({"rows": (4, 5, 6, 10)}, "rows below 10, found 10"),
        ({"rows": (4, 5, 6)}, r"plan\.npz: expected shard 1 .* found other rows in the plan"),
        ({"number": 3}, "found no such shard in the plan"),
    ],
)
def test_a_job_of_something_else_is_refused_before_anything_is_read(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    wanted = make_wanted(tmp_path)
    job = wanted.job(wanted.plan(pytest.fail)[1])
    with pytest.raises(StoreError, match=message):
        list(LocalEngine(wanted, work).run([replace(job, **change)]))
    assert isinstance(wanted.examples, Numbers)
    assert not wanted.examples.seen


def test_a_job_is_refused_where_nothing_is_planned_any_more(tmp_path: Path) -> None:
    wanted = make_wanted(tmp_path)
    planned = wanted.plan(pytest.fail)
    wanted.make(planned, LocalEngine(wanted, work))
    with pytest.raises(StoreError, match="found no such shard in the plan: it has changed since the work was handed"):
        list(LocalEngine(make_wanted(tmp_path), work).run([wanted.job(planned[0])]))
