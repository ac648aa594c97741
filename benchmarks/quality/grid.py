"""Which method selects best: every method on real targets, tuned and tested, with intervals.

    python benchmarks/quality/grid.py --work DIR [--methods NAMES] [--budgets 1%] [--seeds 3]

Needs ../shared (pool of 37,026 rows, four targets, the model base6m). Many hours on 2 cores: about an hour a seed for
its store, two to three minutes a cell at 1 %, two hours for each `full`. Stop it at any moment and give it again: it
goes on with the next cell. --keep puts the cells so far into benchmarks/results/quality/cells.parquet, from where a run
in an empty DIR goes on, writes the tables of all that are there and prints the README's. Several DIRs may work at once.

Cells come from many sittings, in which steps were made faster by hand, without any setting of this script: with eager
attention, 4 rows a forward pass in place of `device_batch_size`, and logits at answer tokens alone (`full` of seed 0
from its step 4300 on, and all cells made after it: 1.25 s a step where the first took 2.26 s); and compiled (`full` of
seed 0 up to that step, and of seeds 1 and 2, whose 6,945 steps took 4,100 s each, two at a time). None changes a loss
by more than bfloat16's rounding, 0.0015 nats (docs/log.md). Tuned models were tested in bfloat16, too, the untuned one
in float32, which is 0.002 nats on pubmedqa and less elsewhere. Seconds are those of whatever else ran beside; what seed
0's gradients and embeddings took is not known, for they were made in several sittings.
"""

import argparse
from pathlib import Path
from typing import Any

import g2is
from common import base6m
from common.kept_grid import KeptGrid
from common.places import BASE6M, POOL, RESULTS, sentence_encoder, target_file
from g2is.methods import ALWAYS, METHODS

GENERATIVE = ("gsm8k", "simplification_asset", "code_gpteacher")  # the mean of R is over these
TARGETS = (*GENERATIVE, "pubmedqa")
MANY_SITTINGS = (
    "The cells were made in many sittings, on two cores of an Intel Xeon or an AMD EPYC, mostly two at a time"
    " and some stopped for a while: seconds are upper bounds and not to be compared"
)
KEPT = KeptGrid(RESULTS / "quality", TARGETS, ("1%", "5%"), (0, 1, 2), GENERATIVE, MANY_SITTINGS)
SETTINGS: dict[str, Any] = {
    "warmup": base6m.WARMUP,
    "gradients": {"forms": ["less", "momentum-free"]},
    "tuning": base6m.TUNING,
    "evaluation": {"generate": False},
    "execution": base6m.EXECUTION,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for stores, selections and cells (5 GB)")
    parser.add_argument("--methods", default=",".join(name for name in METHODS if name not in ALWAYS))
    parser.add_argument("--budgets", default="1%")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep cells and tables in benchmarks/results/quality")
    given = parser.parse_args()
    out = given.work / "quality"
    if given.keep:
        KEPT.keep(out)
        KEPT.print_tables()
        return
    KEPT.begin(out)
    comparison = g2is.compare(
        pool=POOL,
        target={name: target_file(name, "dev") for name in TARGETS},
        test={name: target_file(name, "test") for name in TARGETS},
        model=BASE6M,
        out=out,
        methods=given.methods.split(","),
        budgets=given.budgets.split(","),
        num_seeds=given.seeds,
        representation={"embedding_model": sentence_encoder()},
        **SETTINGS,
    )
    print(f"{len(comparison.cells)} cells, {len(comparison.missing)} missing")


if __name__ == "__main__":
    main()
