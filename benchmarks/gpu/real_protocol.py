"""Which method selects best for a real chat model with all of the real pool: quality/real.py on a CUDA device.

    python benchmarks/gpu/real_protocol.py --model DIR --work DIR [--small]

Needs ../shared. 37,026 rows, four targets (64 rows given, 300 tested), 1 % (370 rows), three seeds; the learning rate
is chosen on random rows alone, the model in bfloat16 and the tuning are those of real.py. The model answers all
targets, greedily. It is one `g2is compare` on one folder: stopped at any moment it goes on with the next cell, and the
figures are of the cells so far. Methods whose package is missing are left out, and those over embeddings, which want a
model of sentences; the result says which.
"""

import argparse
import importlib.util
import json
import signal
import sys
from pathlib import Path
from typing import Any

import g2is
from common.measure import Figure, keep
from common.places import POOL, target_file
from common.small_pool import TARGETS
from common.smollm2 import RATES, best_rate, lines_of, losses_by_rate, trained_at, write_lines
from g2is.methods import ALWAYS, METHODS

FIRST = ("design", "less", "knn-kde", "g2is", "official", "without-graph")  # if time is short, these are there
WANTS = {"lexical": "bm25s", "embedding": None}  # a representation's package; of None no model is packed
METRICS = ("loss", "numeric_match", "rouge_l")
RATE_ROWS, SMALL_ROWS, SMALL_TESTED = 80, 300, 4


def methods(small: bool) -> tuple[list[str], list[str]]:
    """Those that are compared, and those that are left out for want of a package or model."""
    if small:
        return ["less"], []
    absent = [of for of, package in WANTS.items() if package is None or importlib.util.find_spec(package) is None]
    names = list(dict.fromkeys((*FIRST, *(name for name in METHODS if name not in ALWAYS))))
    missing = [name for name in names if METHODS[name].settings.get("representation") in absent]
    return [name for name in names if name not in missing], missing


def files(work: Path, small: bool) -> dict[str, Any]:
    """Pool, targets and tests as `compare` takes them; a few rows of each if `small`."""
    if not small:
        given = {name: target_file(name, "dev") for name in TARGETS}
        return {"pool": POOL, "target": given, "test": {name: target_file(name, "test") for name in TARGETS}}
    name = TARGETS[0]
    return {
        "pool": write_lines(work / "pool.jsonl", lines_of(POOL)[:SMALL_ROWS]),
        "target": {name: write_lines(work / "dev.jsonl", lines_of(target_file(name, "dev"))[:SMALL_TESTED])},
        "test": {name: write_lines(work / "test.jsonl", lines_of(target_file(name, "test"))[:SMALL_TESTED])},
    }


def figures_of(out: Path) -> list[Figure]:
    """The loss of each method over that of random rows, on the mean of the targets, as far as it is measured."""
    entries = json.loads((out / "comparison.json").read_text(encoding="utf-8"))["entries"]
    found = []
    for entry in entries:
        if (relative := entry["mean"]["relative"]) is not None:
            spread = (round(relative["low"], 4), round(relative["high"], 4))
            note = f"{entry['mean']['num_done']} of {entry['mean']['num_planned']} cells"
            what = f"{entry['method']}: loss over random rows', mean of the targets"
            found.append(Figure(what, round(relative["value"], 4), None, True, "", spread, note))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    name = given.model.name
    model: Any = {"name": str(given.model), "dtype": "bfloat16"}
    rates = given.work / "rate.json"
    if not rates.exists():
        lines = lines_of(POOL)[:: 1 if given.small else 97]  # of all kinds, a part of the pool that is chosen from
        num = 16 if given.small else RATE_ROWS
        few = (1e-3,) if given.small else RATES
        found = losses_by_rate(model, given.work / "rate", lines[:num], lines[num : 2 * num], few)
        rates.write_text(json.dumps(found))
    losses = json.loads(rates.read_text())
    learning_rate = float(best_rate(losses))
    names, missing = methods(given.small)
    settings: Any = {
        **trained_at(learning_rate, learning_rate),
        "evaluation": {"generate": not given.small, **({} if given.small else {"metrics": METRICS})},
    }
    out = given.work / "compared"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whoever ends it gets the figures of the cells so far
    try:
        g2is.compare(
            **files(given.work, given.small),
            model=model,
            out=out,
            methods=names,
            budgets=["2%" if given.small else "1%"],
            num_seeds=1 if given.small else 3,
            **settings,
        )
    finally:
        if (out / "comparison.json").exists():
            details = {"model": name, "learning_rates": losses, "left_out": missing}
            keep(f"real_protocol-{name}", given.small, "gpu/real_protocol.py", figures_of(out), details)


if __name__ == "__main__":
    main()
