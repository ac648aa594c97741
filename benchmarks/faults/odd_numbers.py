"""Numbers (part of `make faults`): odd matrices through every selector, and one selection by many ways of computing it.

    PYTHONPATH=src:benchmarks python -m faults.odd_numbers [--budget SECONDS] [--seed N]

An odd matrix is either chosen from as a plain float64 program does (`plain_selectors.py`), or refused by one clear
error. `same` counts the former, `refused` the latter; `differs`, `undetected` (chosen from, though it must be refused)
and `traceback` (warnings of numpy's included) must be 0.
"""

import argparse
import itertools
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from reference_walk import ReferenceWalk

from faults.odd_inputs import METHODS, ODD, PRECONDITIONED, Odd
from faults.plain_published import preconditioned
from faults.plain_selectors import plain_selection
from g2is.api import walk_matrices
from g2is.api.settings import SelectionSettings
from g2is.config import SelectionConfig
from g2is.errors import G2isError
from g2is.selection.apply import apply_selector
from g2is.selection.budget import parse_budget
from g2is.selection.core import core_knowledge
from g2is.selection.files import check_k
from g2is.selection.limits import Limits
from g2is.selection.precondition import Preconditioner, SecondMoment
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows

OUTCOMES = ("same", "refused", "differs", "undetected", "traceback")
# The authors' walk has zero rows as nodes and components of arbitrary sign, so that it chooses from these.
_CHOSEN_BY_OFFICIAL: tuple[str, ...] = (
    *("all-zero pool", "all-zero pool of negative zeros", "every row minus the target"),
    *("every row near minus the target", "one column, all against"),
)


def cases(seed: int, methods: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Odd, Mapping[str, Any], int]]:
    """Odd inputs × methods, in an order that the seed decides; after all of them again, of other random rows."""
    draw = np.random.default_rng(seed)
    for turn in itertools.count():
        grid = [(odd, method) for odd in ODD for method in methods]
        for place in draw.permutation(len(grid)):
            yield (*grid[place], seed + turn)


def outcome(odd: Odd, method: Mapping[str, Any], seed: int, folder: Path | None = None) -> tuple[str, str]:
    """What became of an odd input, and what was found; through `g2is walk` on files if a `folder` is given."""
    pool, target = odd.make(np.random.default_rng(seed))
    budget = odd.budget(len(pool))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = (
                _by_function(pool, target, budget, method)
                if folder is None
                else _by_files(pool, target, budget, method, folder)
            )
    except G2isError as error:
        return "refused", str(error)
    except Exception as error:
        return "traceback", repr(error)
    if odd.refused and not (method["method"] == "official" and odd.name in _CHOSEN_BY_OFFICIAL):
        return "undetected", str(found)
    expected = _plain(pool, target, budget, method)
    return ("same" if found == expected else "differs"), f"{found}, expected {expected}"


def _by_function(pool: Any, target: Any, budget: str, method: Mapping[str, Any]) -> list[int]:
    settings = SelectionConfig(budget=budget, **method)
    num_rows = parse_budget(budget, len(pool))
    rows, of_target = UnitRows(pool), _as_float64(target)
    if settings.precondition is not None:
        check_k(rows.k, UnitRows(target, what="target rows").k, "target rows")
        units, moment = rows.over_units(np.arange(rows.num_rows), lambda units: units), SecondMoment(rows.k)
        moment.add(units, rows.norms)
        damping, mix = settings.precondition_damping, settings.precondition_mix
        by = Preconditioner.of(moment.decomposed(), [of_target], damping, mix)
        rows, of_target = UnitRows(by(units)), by(of_target)
    targets = {"target": TargetRows(num_rows, rows=of_target)}
    return apply_selector(len(pool), rows, targets, settings, Limits()).record.rows.tolist()


def _by_files(pool: Any, target: Any, budget: str, method: Mapping[str, Any], folder: Path) -> list[int]:
    paths = {}
    for name, matrix in (("pool", pool), ("target", target)):
        paths[name] = folder / f"{name}.{'pt' if isinstance(matrix, torch.Tensor) else 'npy'}"
        torch.save(matrix, paths[name]) if isinstance(matrix, torch.Tensor) else np.save(paths[name], matrix)
    out = folder / "run"
    walk_matrices(
        pool_gradients=paths["pool"],
        target_gradients=paths["target"],
        out=out,
        budget=budget,
        selection=cast(SelectionSettings, method),
    )
    for table in (pq.read_table(out / "scores.parquet"), pq.read_table(out / "selection.parquet")):
        for name in table.column_names:
            if str(table[name].type) == "float" and pc.any(pc.is_nan(table[name])).as_py():
                raise AssertionError(f"NaN in column {name}")
    return pq.read_table(out / "selection.parquet").column("row").to_pylist()


def _plain(pool: Any, target: Any, budget: str, method: Mapping[str, Any]) -> list[int]:
    settings = SelectionConfig(budget=budget, **method)
    rows, examples, num_rows = _as_float64(pool), _as_float64(target), parse_budget(budget, len(pool))
    if settings.precondition is not None:
        rows, examples = preconditioned(rows, examples, settings)
    if settings.selector != "walk":
        return plain_selection(rows, examples[examples.any(axis=1)], num_rows, settings)
    # lengths of rows mean nothing to a walk, and squares of the smallest and largest leave float64's range
    largest = np.abs(rows).max(axis=1, keepdims=True)
    plain = ReferenceWalk(rows / np.where(largest > 0, largest, 1), settings)
    core = core_knowledge(examples, settings)
    of_examples = examples / np.where(examples.any(axis=1), np.abs(examples).max(axis=1), 1)[:, None]
    share = [("target", core.components, core.variance.tolist(), num_rows)]
    plain.run(share, [core.mean_alignment], [of_examples[examples.any(axis=1)]])
    return [row for row, *_ in plain.selected]


def _as_float64(matrix: Any) -> np.ndarray:
    return matrix.double().numpy() if isinstance(matrix, torch.Tensor) else np.asarray(matrix, np.float64)


def run(budget_s: float, seed: int) -> list[dict[str, Any]]:
    """Rows of the table of `make faults`."""
    from faults.invariance import run as run_invariance

    begin = time.monotonic()
    rows = []
    for what, through_files, share in (
        ("odd matrices × selectors, as functions", False, 0.2),
        ("odd matrices × selectors, `g2is walk` on files", True, 0.3),
    ):
        counted, bad = count(seed, through_files, time.monotonic() + share * budget_s)
        rows.append({"what": what, "tried": sum(counted.values()), **{name: counted[name] for name in OUTCOMES}})
        if bad:
            rows[-1]["note"] = "; ".join(bad[:3])
    left = budget_s - (time.monotonic() - begin)
    return rows + run_invariance(left, seed)


def count(seed: int, through_files: bool, until: float, most: int | None = None) -> tuple[Counter, list[str]]:
    """Outcomes of as many cases as there is time for, at most `most` or each once, and a line for each that is bad."""
    counted: Counter[str] = Counter()
    bad = []
    methods = METHODS if through_files else (*METHODS, PRECONDITIONED)
    for odd, method, of in itertools.islice(cases(seed, methods), most or len(ODD) * len(methods)):
        if time.monotonic() > until:
            break
        with tempfile.TemporaryDirectory() as folder:
            what, found = outcome(odd, method, of, Path(folder) if through_files else None)
        counted[what] += 1
        if what not in ("same", "refused"):
            bad.append(f"{odd.name}, {method}, seed {of}: {what}: {found}")
    return counted, bad


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for row in run(given.budget, given.seed):
        print(json.dumps(row, ensure_ascii=False))
