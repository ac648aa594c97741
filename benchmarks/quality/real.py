"""Which method selects best for a real chat model: every method on real targets, tuned and tested, with intervals.

    python benchmarks/quality/real.py --work DIR rate        the learning rate, once, on random rows alone
    python benchmarks/quality/real.py --work DIR cells       select, tune, test: goes on with the next cell
    python benchmarks/quality/real.py --work DIR keep        put the cells so far into benchmarks/results/real
    python benchmarks/quality/real.py table                  print the tables of all cells that are kept

SmolLM2-135M-Instruct in bfloat16, made in DIR by ../shared/models/real_model.py (pip install gguf); 8,000 rows of the
real pool drawn with seed 0, four targets (64 rows given, 150 tested), 1 % (80 rows). `cells` takes --methods, --budgets
and --seeds. Some 30 hours of one core in all; stop it at any moment and give it again. The loss is nats an answer
token; what the models answer is not asked for in the grid.
"""

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import g2is
from common.kept_grid import KeptGrid
from common.measure import Figure, keep
from common.places import POOL, RESULTS, SHARED, sentence_encoder, target_file
from common.small_pool import TARGETS
from g2is.methods import ALWAYS, METHODS
from g2is.store.files import write_text

MODEL = "smollm2-135m"
NUM_ROWS, NUM_TESTED = 8_000, 150
REMARK = (
    "The cells were made in many sittings, one thread each and often beside other work: seconds are upper bounds and"
    " not to be compared, and the machine below is the last"
)
GENERATIVE = tuple(name for name in TARGETS if name != "pubmedqa")  # the mean of R is over these
KEPT = KeptGrid(RESULTS / "real", TARGETS, ("1%", "5%"), (0, 1), GENERATIVE, REMARK)
RATES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)
NUM_TUNED_ON, RATE_TESTS = 80, 100  # rows of the pool that no cell sees
LORA = {"rank": 32, "alpha": 128, "dropout": 0.0}
TUNING: dict[str, Any] = {"batch_size": 16, "device_batch_size": 4, "lora": LORA, "bf16": True}


def lines_of(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.readlines()


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_text(path, "".join(lines))
    return path


def draw(work: Path) -> tuple[Path, list[str]]:
    """The pool of NUM_ROWS rows, and the lines that are not in it, in random order."""
    lines = lines_of(POOL)
    order = np.random.default_rng(0).permutation(len(lines))
    drawn, left = np.sort(order[:NUM_ROWS]), order[NUM_ROWS:]
    return write_lines(work / "pool.jsonl", [lines[row] for row in drawn]), [lines[row] for row in left]


def model_folder(work: Path) -> Path:
    """The model, made of packages once."""
    folder = work / MODEL
    if not folder.exists():
        making = work / f".{MODEL}"
        command = [sys.executable, str(SHARED / "models/real_model.py"), MODEL, str(making)]
        subprocess.run(command, check=True)
        making.rename(folder)
    return folder


def model(work: Path) -> Any:
    return {"name": str(model_folder(work)), "dtype": "bfloat16"}


def rate(work: Path) -> None:
    """Tune on random rows with each learning rate, and test on other random rows: the best is that of every cell."""
    _, left = draw(work)
    data = write_lines(work / "rate/data.jsonl", left[:NUM_TUNED_ON])
    test = write_lines(work / "rate/test.jsonl", left[NUM_TUNED_ON : NUM_TUNED_ON + RATE_TESTS])
    losses: dict[str, float] = {}
    for learning_rate in (0.0, *RATES):
        place, adapter = work / f"rate/{learning_rate:g}", None
        if learning_rate:
            tuning: Any = {**TUNING, "learning_rate": learning_rate}
            adapter = g2is.train(data=data, model=model(work), out=place, tuning=tuning).adapter
        found = g2is.evaluate(
            model=model(work), out=place / "tested", test=test, adapter=adapter, evaluation={"generate": False}
        )
        losses[f"{learning_rate:g}"] = round(found.summary["means"]["loss"], 4)
        print(f"learning rate {learning_rate:g}: test loss {losses[f'{learning_rate:g}']}", flush=True)
    best = min((f"{learning_rate:g}" for learning_rate in RATES), key=losses.__getitem__)
    figures = [Figure("test loss of random rows, untuned", losses["0"], None, True)]
    figures.append(Figure(f"… tuned on {NUM_TUNED_ON} other random rows at {best}", losses[best], None, True))
    keep(f"real_rate-{MODEL}", False, "quality/real.py rate", figures, {"losses": losses, "best": float(best)})


def settings() -> dict[str, Any]:
    """What every cell has; the learning rate is what `rate` found."""
    place = RESULTS / f"real_rate-{MODEL}.json"
    if not place.exists():
        raise SystemExit(
            f"{place}: expected the learning rate that `rate` finds, found no such file; give `rate` first"
        )
    learning_rate = json.loads(place.read_text())["best"]
    return {
        "warmup": {"learning_rate": learning_rate, "batch_size": 16, "device_batch_size": 4, "lora": LORA},
        "gradients": {"forms": ["less", "momentum-free"]},
        "tuning": {**TUNING, "learning_rate": learning_rate},
        "evaluation": {"generate": False},
        "execution": {"batch_tokens": 1024},
        "representation": {"embedding_model": sentence_encoder()},
    }


def cells(work: Path, methods: Sequence[str], budgets: Sequence[str], num_seeds: int) -> None:
    """Make the cells that are missing."""
    out = work / "real"
    KEPT.begin(out)
    pool, _ = draw(work)
    tests = {
        name: write_lines(work / f"tests/{name}.jsonl", lines_of(target_file(name, "test"))[:NUM_TESTED])
        for name in TARGETS
    }
    comparison = g2is.compare(
        pool=pool,
        target={name: target_file(name, "dev") for name in TARGETS},
        test=tests,
        model=model(work),
        out=out,
        methods=methods,
        budgets=budgets,
        num_seeds=num_seeds,
        **settings(),
    )
    print(f"{len(comparison.cells)} cells, {len(comparison.missing)} missing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("rate", "cells", "keep", "table"))
    parser.add_argument("--work", type=Path, help="folder for model, stores, selections and cells (3 GB)")
    parser.add_argument("--methods", default=",".join(name for name in METHODS if name not in ALWAYS))
    parser.add_argument("--budgets", default="1%")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    if given.work is None and given.step != "table":
        parser.error(f"{given.step}: expected --work DIR, found none")
    match given.step:
        case "rate":
            rate(given.work)
        case "cells":
            cells(given.work, given.methods.split(","), given.budgets.split(","), given.seeds)
        case "keep":
            KEPT.keep(given.work / "real")
    if given.step in ("keep", "table"):
        KEPT.print_table()


if __name__ == "__main__":
    main()
