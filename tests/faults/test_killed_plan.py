"""Killed at any durable step of planning, making and ending, and gone on with: the bytes of an undisturbed run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from forked import die, ended, start, stored_bytes

from g2is.engine.job import ShardJob
from g2is.engine.local import LocalEngine
from g2is.engine.wanted import WantedRows
from g2is.model.batches import Row
from g2is.store.matrix import RowTable, Shard
from g2is.store.plan import PLAN

KEYS = np.random.default_rng(0).integers(0, 256, (11, 16), np.uint8)


class Numbers:
    """Examples whose tokens are their own number."""

    keys, num_tokens = KEYS, np.ones(len(KEYS), np.int32)

    def token_rows(self, rows: np.ndarray) -> list[Row]:
        return [(np.array([row], np.int32), np.ones(1, bool)) for row in rows]


def work(job: ShardJob, token_rows: list[Row]) -> Shard:
    return Shard(KEYS[list(job.rows)], {"rows": np.array([ids for ids, _ in token_rows], np.float16)})


def make_all(store: Path) -> None:
    """Plan, and make what is missing."""
    table = RowTable(store / "numbers/pool", "f", 4)
    wanted = WantedRows(store, "numbers", "pool", Numbers(), table)
    wanted.make(wanted.plan(print), LocalEngine(wanted, work))


def make_and_die(store: Path, step: int) -> None:
    """Die at an fsync, a rename or a removal, after `step` of them."""
    left = step
    for place, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        real = getattr(place, name)

        def counted(*arguments: Any, real: Callable[..., Any] = real, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                die()
            return real(*arguments, **options)

        setattr(place, name, counted)
    make_all(store)


def test_killed_at_any_step_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    make_all(tmp_path / "calm")
    expected = stored_bytes(tmp_path / "calm")
    assert not any(name.endswith(PLAN) for name in expected)
    plans = 0
    for step in range(200):
        store = tmp_path / f"killed-{step}"
        code = ended(start(make_and_die, store, step))
        if code == 0:
            break
        assert code == -9
        plans += (store / "numbers/pool" / PLAN).exists()
        make_all(store)
        assert stored_bytes(store) == expected, f"killed at step {step}"
    assert step >= 20
    assert 10 <= plans < step
