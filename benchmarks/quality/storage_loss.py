"""What rows in 8 bits and in 1 bit, and looking at candidates alone, cost in test loss: the demo's sample, tuned on.

    python benchmarks/quality/storage_loss.py [--work DIR] [--seeds 3]

Each method selects 120 of 2,000 rows (6 %) from a store of each form, and among the candidates nearest to the target;
the bundled model is tuned on each selection with each seed and tested on 100 rows. Some ten minutes on 2 cores; given
the same DIR again, it goes on from where it was. Writes benchmarks/results/storage_loss.json.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any, get_args

import numpy as np

from common.choosing import shared
from common.places import RESULTS
from g2is.cli.session import quiet_libraries
from g2is.config import SelectionConfig, Storage
from g2is.demo.comparison import compare
from g2is.demo.run import demo_config, demo_tuning, read_tables, write_demo_sample
from g2is.jobs.prepare import prepare
from g2is.jobs.select import select
from g2is.machine.environment import environment
from g2is.progress import Silent

METHODS = ("design", "g2is", "less")
TIMES_THE_BUDGET = (2, 5, 10)
BUDGET = 120
EXACT = "float16"
RESULT = RESULTS / "storage_loss.json"


def selections(work: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Method, way of looking at rows, and what is selected so (n,): from all rows in each form, then by candidates."""
    config = demo_config(work)
    for storage in get_args(Storage):
        stored = config.gradients.model_copy(update={"storage": storage})
        for method in METHODS:
            joint = storage == EXACT and method != "less"  # `less` reads all rows once: candidates save it nothing
            for times in (None, *(TIMES_THE_BUDGET if joint else ())):
                candidates = None if times is None else times * BUDGET
                selecting = SelectionConfig(method=method, budget=str(BUDGET), candidates=candidates)
                way = storage if times is None else f"candidates, {times} times the budget"
                update = {
                    "out": work / "runs" / method / way.replace(" ", "-"),
                    "store": work / "stores" / storage,
                    "gradients": stored,
                    "selection": selecting,
                }
                yield method, way, np.sort(select(config.model_copy(update=update)).rows)


def main() -> None:
    """Select, tune, test, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("storage-loss"))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    quiet_libraries()
    write_demo_sample(given.work / "sample")
    found = {(method, way): rows for method, way, rows in selections(given.work)}
    prepared = prepare(demo_config(given.work).model_copy(update={"store": given.work / "stores" / EXACT}), Silent())
    pool, test = read_tables(prepared, given.work)
    losses: dict[bytes, list[float]] = {}  # selections of the same rows are tuned on once
    for rows in found.values():
        if rows.tobytes() in losses:
            continue
        of_rows = losses[rows.tobytes()] = []
        for seed in range(given.seeds):
            folder = given.work / "tuned" / f"{len(losses)}-{seed}"
            if not (folder / "comparison.json").exists():
                compare(prepared, pool, test, {"selection": rows}, demo_tuning(seed), folder, Silent())
            outcomes = json.loads((folder / "comparison.json").read_text())["outcomes"]
            of_rows.append(round(next(of["loss"] for of in outcomes if of["name"] == "selection"), 4))
    table: list[dict[str, Any]] = [
        {
            "method": method,
            "way": way,
            "shared_with_float16": shared(rows.tolist(), found[method, EXACT].tolist()),
            "loss": losses[rows.tobytes()],
        }
        for (method, way), rows in found.items()
    ]
    RESULT.write_text(json.dumps({"machine": environment(), "seeds": given.seeds, "rows": table}, indent=1) + "\n")
    print(f"{'method':8} {'way':30} {'rows shared':>11} {'loss a token':>24}")
    for row in table:
        spread = f"{mean(row['loss']):.3f} [{min(row['loss']):.3f}, {max(row['loss']):.3f}]"
        print(f"{row['method']:8} {row['way']:30} {row['shared_with_float16']:>11.0%} {spread:>24}")


if __name__ == "__main__":
    main()
