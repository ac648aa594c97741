"""What rows in 8 bits and in 1 bit, and looking at candidates alone, change of a selection.

    python benchmarks/quality/storage.py [--small] [--work DIR] [--parts storage candidates]

Pools: drawn ones in clusters (`common/synthetic.py`), and gradients of base6m of real rows with four targets. For each
method and budget: the share of the selected rows that the selection over float16 rows, or over all rows, selects too;
and of the target examples' variance what each explains beside rows at random, as `design` counts (`told`), by the
float16 rows whatever was looked at. Writes benchmarks/results/storage.json and candidates.json.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from common.choosing import Rows, chosen, drawn_rows, real_rows, shared, told
from common.measure import Figure, keep, median
from common.places import BASE6M
from g2is.config import Storage
from g2is.selection.nearest import Nearest
from g2is.selection.similarity import UnitRows
from g2is.store.stored_as import encoded

METHODS = ("design", "g2is", "match", "less")
SHARES = (0.01, 0.05)
TIMES_THE_BUDGET = (2, 5, 10, 30)

Row = dict[str, object]


def by_storage(rows: Rows) -> Iterator[Row]:
    usable = np.asarray(rows.pool.any(axis=1))
    held = {storage: UnitRows(encoded(rows.pool, storage), usable=usable) for storage in get_args(Storage)}
    for target, of_target in rows.targets.items():
        for method in METHODS:
            for share in SHARES:
                budget = int(share * len(rows.pool))
                exact = chosen(held["float16"], of_target, method, budget)
                for storage in ("int8", "sign"):
                    found = chosen(held[storage], of_target, method, budget)
                    yield _row(held["float16"], of_target, target, method, share, storage, exact, found)


def by_candidates(rows: Rows) -> Iterator[Row]:
    pool = UnitRows(rows.pool)
    for target, of_target in rows.targets.items():
        nearest = Nearest(len(rows.pool), {target: of_target})
        nearest.look(np.arange(len(rows.pool)), pool)
        for method in METHODS[:-1]:
            for share in SHARES:
                budget = int(share * len(rows.pool))
                exact = chosen(pool, of_target, method, budget)
                for times in TIMES_THE_BUDGET:
                    if times * budget >= len(rows.pool):
                        continue
                    places = nearest.rows(times * budget)
                    found = chosen(UnitRows(rows.pool[places]), of_target, method, budget, places)
                    what = f"{times} times the budget"
                    yield _row(pool, of_target, target, method, share, what, exact, found)


def _row(
    pool: UnitRows,
    of_target: np.ndarray,
    target: str,
    method: str,
    share: float,
    what: str,
    exact: list[int],
    found: list[int],
) -> Row:
    at_random = np.random.default_rng(0).choice(np.flatnonzero(pool.nodes), len(exact), replace=False)
    row: Row = {
        "target": target,
        "method": method,
        "budget": share,
        "what": what,
        "shared": shared(exact, found),
        "told": told(pool, of_target, found),
        "told_exact": told(pool, of_target, exact),
        "told_at_random": told(pool, of_target, at_random.tolist()),
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="1,000 rows a pool in place of 4,000")
    parser.add_argument("--work", type=Path, default=Path("/tmp/g2is-storage"), help="folder for the real gradients")
    parser.add_argument("--parts", nargs="+", choices=["storage", "candidates"], default=["storage", "candidates"])
    given = parser.parse_args()
    num_rows = 1_000 if given.small else 4_000
    pools = {"drawn": drawn_rows(num_rows)}
    if BASE6M.is_dir():
        pools["real"] = real_rows(given.work / str(num_rows), num_rows)
    measures = {"storage": by_storage, "candidates": by_candidates}
    for part in given.parts:
        found = {name: list(measures[part](rows)) for name, rows in pools.items()}
        figures = []
        for name, rows in found.items():
            for method in METHODS:
                for what in dict.fromkeys(row["what"] for row in rows):
                    ours = [row for row in rows if (row["method"], row["what"]) == (method, what)]
                    if ours:
                        values = [float(str(row["shared"])) for row in ours]
                        about = f"{name} rows, {method}, {what}: rows selected by both"
                        figures.append(Figure(about, median(values), None, False, "", (min(values), max(values))))
        keep(part, given.small, f"quality/storage.py --parts {part}", figures, {"rows": found})


if __name__ == "__main__":
    main()
