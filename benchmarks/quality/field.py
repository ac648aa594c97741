"""Every method of the field on base6m and the whole real pool, at 1 % and 5 %, and candidates for the default.

    python benchmarks/quality/field.py --work DIR [--methods NAMES] [--budgets 1%] [--targets NAMES]
    python benchmarks/quality/field.py --table               print the tables of all cells that are kept

Needs ../shared. 370 or 1,851 rows of 37,026 a selection, one seed, tuned on and tested as grid.py does: an hour for the
store, a minute or two a cell at 1 %, five at 5 %. Cells that are there are not made again, and all are kept in
benchmarks/results/field. Those of grid.py were made before examples were rendered as now, so `random`, `less` and
`design` are made anew here. `full`, of two hours a seed and target, is not: its three seeds are taken from there.
"""

import argparse
from pathlib import Path

from common import base6m
from common.cells import CELLS, make_cell, read_cells
from common.kept_grid import KeptGrid
from common.places import BASE6M, POOL, RESULTS, sentence_encoder, target_file
from common.rounded_products import fast_bfloat16
from g2is.comparison.cells import write_cell
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.jobs.cells import choose
from g2is.jobs.compare import missing_cells
from g2is.jobs.trials import open_trials
from g2is.jobs.work_folder import open_work
from g2is.machine.environment import environment
from g2is.methods import ALWAYS, FULL, METHODS, RANDOM
from g2is.progress.drawn import TerminalReporter

TEXTS = ("gsm8k", "simplification_asset", "code_gpteacher")  # whose answers are texts: the mean of R is over these
TARGETS = (*TEXTS, "pubmedqa")
BUDGETS, NUM_ROWS = ("1%", "5%"), 37_026
CANDIDATES: dict[str, dict[str, object]] = {  # for the default: docs/log.md has what was expected of each
    "design-less": {"method": "design", "form": "less"},
    "design-less-noise": {"method": "design-noise", "form": "less"},
    "design-noise-20": {"method": "design", "noise": 20.0},
}
SETTINGS = {
    "representation": {"embedding_model": sentence_encoder()},
    "warmup": base6m.WARMUP,
    "gradients": {"forms": ["less", "momentum-free"]},
    "tuning": base6m.TUNING,
    "evaluation": {"generate": False},
    "execution": base6m.EXECUTION,
}
REMARK = (
    "`full` is that of benchmarks/results/quality: three seeds, examples rendered as at that time; all other cells are"
    " of a later run, and not to be compared with those there"
)
KEPT = KeptGrid(RESULTS / "field", TARGETS, BUDGETS, (0, 1, 2), TEXTS, REMARK, tuple(CANDIDATES))


def make(work: Path, methods: list[str], budgets: list[str], targets: list[str]) -> None:
    """Make the cells of `methods` on `targets` that are not there."""
    values = {
        "pool": POOL,
        "targets": {name: target_file(name, "dev") for name in TARGETS},
        "tests": {name: target_file(name, "test") for name in TARGETS},
        "model": {"name": str(BASE6M)},
        "out": work / "field",
        "methods": {name: CANDIDATES.get(name, {"method": name}) for name in methods},
        "budgets": budgets,
        "num_seeds": 1,
        **SETTINGS,
    }
    config: CompareConfig = parse(CompareConfig, values, "field.py")
    reporter = TerminalReporter()
    with open_work(config.out, config, "comparison"):
        trials, planned = open_trials(config, reporter), missing_cells(config)[0]
        for number, key in enumerate(planned, start=1):
            place = key.place(work / "cells").with_suffix(".json")
            if key.target not in targets or (key.method in ALWAYS and key.method != RANDOM) or place.exists():
                continue
            make_cell(place, trials, number, key, choose(trials, key, reporter), reporter)
            print(f"made: {key}", flush=True)
    for cell in read_cells(RESULTS / "quality" / CELLS):
        if cell.key.method == FULL:
            write_cell(cell.key.place(work / "cells").with_suffix(".json"), cell)
    KEPT.keep_cells(work / "cells", NUM_ROWS, SETTINGS, environment())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for the store, selections and cells (3 GB)")
    parser.add_argument("--methods", default=",".join(name for name in (*METHODS, *CANDIDATES) if name not in ALWAYS))
    parser.add_argument("--budgets", default="1%")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--table", action="store_true", help="print the tables, of nothing but what is kept")
    given = parser.parse_args()
    if (given.work is None) != given.table:
        parser.error(f"expected --work DIR or --table, found {'both' if given.table else 'neither'}")
    if given.work:
        with fast_bfloat16():
            make(given.work, *(of.split(",") for of in (given.methods, given.budgets, given.targets)))
    KEPT.print_tables()


if __name__ == "__main__":
    main()
