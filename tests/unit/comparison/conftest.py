"""A made-up comparison: cells whose losses are those of a simulated method, not of a model."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from g2is.comparison.cells import Cell, Key
from g2is.comparison.evidence import Comparison, compare_cells
from g2is.comparison.grid import Grid
from g2is.methods import FULL, UNTUNED

GRID = Grid(
    methods=("g2is", "less", "rds+", UNTUNED, "random", FULL),
    targets=("gsm8k", "asset"),
    budgets=("1%", "5%"),
    seeds=(0, 1, 2),
)
NUM_POOL_ROWS = 2_000
NUM_TEST = {"gsm8k": 200, "asset": 120}

# nats that a method adds to each test example's loss, by budget
EFFECT = {
    "g2is": (-0.20, -0.30),
    "less": (-0.22, -0.24),
    "rds+": (0.15, -0.01),
    UNTUNED: (0.4, 0.4),
    FULL: (-0.5, -0.5),
}
_SHARED = {"g2is": 0.6, "less": 0.9}  # of the rows, with the method's own choice, whatever the seed


def make_cell(key: Key) -> Cell:
    """The cell of a simulated tuning: an example's difficulty, the method's effect on it, and a little of the seed."""
    of_target = np.random.default_rng([7, *key.target.encode()])
    num_test = NUM_TEST[key.target]
    difficulty = of_target.normal(2.8 if key.target == "gsm8k" else 1.3, 0.6, num_test)
    num_learned = of_target.integers(3, 90, num_test)
    own = np.random.default_rng([0 if key.seed is None else key.seed + 1, *key.method.encode(), *key.target.encode()])
    effect = EFFECT.get(key.method, (0.0, -0.1))[0 if key.budget in (None, "1%") else 1]
    losses = np.maximum(difficulty + effect + own.normal(0, 0.015) + own.normal(0, 0.12, num_test), 0.01)
    exact = (own.random(num_test) < np.exp(-losses)).astype(float)
    metrics = (
        {"exact_match": exact} if key.target == "gsm8k" else {"exact_match": exact, "rouge_l": np.exp(-losses / 3)}
    )
    rows = None if key.method in (UNTUNED, FULL) else _rows(key, own)
    num_rows = {UNTUNED: 0, FULL: NUM_POOL_ROWS}.get(key.method, 0 if rows is None else len(rows))
    return Cell(
        **key._asdict(),
        losses=losses,
        num_learned=num_learned,
        metrics=metrics,
        rows=rows,
        num_tokens=num_rows * 211,
        num_steps=-(-num_rows // 16) * 3,
        seconds={"evaluate": 8.25}
        if key.method == UNTUNED
        else {"represent": 61.4 if rows is not None else 0.0, "select": 1.2, "tune": num_rows * 0.31, "evaluate": 8.4},
    )


def _rows(key: Key, own: np.random.Generator) -> np.ndarray:
    assert key.budget is not None
    num = NUM_POOL_ROWS // 100 * int(key.budget[:-1])
    kept = int(num * _SHARED.get(key.method, 0))
    fixed = np.random.default_rng([*key.method.encode(), *key.target.encode()]).permutation(NUM_POOL_ROWS)[:kept]
    return np.concatenate([fixed, own.choice(np.setdiff1d(np.arange(NUM_POOL_ROWS), fixed), num - kept, replace=False)])


@pytest.fixture
def grid() -> Grid:
    """Six methods, two targets, two budgets, three seeds; without `full-cut`."""
    return GRID


@pytest.fixture
def cells() -> dict[Key, Cell]:
    """All cells of the grid."""
    return {key: make_cell(key) for key in GRID.planned()}


@pytest.fixture
def compare() -> Callable[..., Comparison]:
    """Compare cells of the grid with few resamples, which is quick."""

    def run(cells: Mapping[Key, Cell] | Iterator[Cell], **options: Any) -> Comparison:
        listed = list(cells.values()) if isinstance(cells, Mapping) else list(cells)
        given: dict[str, Any] = {"settings": {"model": "made-up"}, "environment": {"python": "3"}, "num_resamples": 400}
        return compare_cells(listed, **{"grid": GRID, "num_pool_rows": NUM_POOL_ROWS, **given, **options})

    return run
