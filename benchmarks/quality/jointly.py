"""Does one selection serve several targets at once? SmolLM2, 80 of 8,000 rows for four targets together.

    python benchmarks/quality/jointly.py --work DIR [--methods design,less,bids,g2is]

DIR is that of real.py, whose store of seed 0 is selected from (`real.py --work DIR rows` makes it). Each method selects
once for all four targets, a quarter of the rows for each but for `bids`, which shares them out itself. The model is
tuned on them as in real.py, and tested on 150 examples of each target; random rows are those of real.py, too. A quarter
of an hour a method on one core; given again, it goes on. Writes benchmarks/results/jointly.json: losses (nats an answer
token) less random's with 95 % intervals over test examples, beside the loss after as many rows for that target alone.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import g2is
from common import smollm2
from common.cells import CELLS, read_cells
from common.measure import Figure, keep
from common.places import RESULTS, target_file
from common.small_pool import TARGETS
from g2is.cli.session import quiet_libraries
from g2is.comparison.cells import summed
from g2is.comparison.statistics import estimate, resampled_ratios

METHODS = ("design", "less", "bids", "g2is")
RANDOM = "random"
Losses = dict[str, tuple[np.ndarray, np.ndarray]]  # by target: nats (T,) and answer tokens (T,) of its test examples


def tested(work: Path, method: str) -> Losses:
    """What the model loses on each target after tuning on the one selection of `method`."""
    out, model = work / "jointly" / method, smollm2.model(work)
    tuning: Any = {**smollm2.settings()["tuning"], "seed": 0}
    chosen = g2is.select(
        pool=smollm2.draw(work)[0],
        target={name: target_file(name, "dev") for name in TARGETS},
        model=model,
        out=out / "selection",
        store=work / "choosing/store/seed-0",
        method=method,
        budget="1%",
        **smollm2.selecting_with_seed(0),
        execution={"report": False},
    )
    print(f"{method}: {len(chosen.ids)} rows", flush=True)
    tuned = g2is.train(data=out / "selection", model=model, out=out / "tuned", tuning=tuning)
    found: Losses = {}
    for name, test in smollm2.tests(work, TARGETS).items():
        of = g2is.evaluate(
            model=model, out=out / name, test=test, adapter=tuned.adapter, evaluation={"generate": False}
        )
        found[name] = summed(of.losses, of.num_learned)
        print(f"{method} on {name}: {found[name][0].sum() / found[name][1].sum():.4f}", flush=True)
    return found


def alone() -> dict[tuple[str, str], float]:
    """The loss after as many rows for one target alone, by method and target, where real.py measured it."""
    cells = read_cells(RESULTS / "real" / CELLS)
    return {
        (cell.key.method, cell.key.target): float(cell.loss)
        for cell in cells
        if cell.key.budget in ("1%", None) and cell.key.seed in (0, None)
    }


def figures(method: str, losses: Losses, random: Losses) -> list[Figure]:
    """Jointly − random on each target."""
    found, by_itself = [], alone()
    for target in TARGETS:
        nats, tokens = (np.stack(of, axis=1) for of in zip(losses[target], random[target], strict=True))
        jointly, of_random = resampled_ratios(nats, tokens, 0, target).T
        less = estimate(jointly - of_random)
        note = f"jointly {jointly[0]:.4f}, random {of_random[0]:.4f} nats"
        if (one := by_itself.get((method, target))) is not None:
            note += f"; {one:.4f} after as many rows for it alone"
        what = f"{method} on {target}: jointly − random"
        found.append(
            Figure(what, round(less.value, 4), None, True, "", (round(less.low, 4), round(less.high, 4)), note)
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    given = parser.parse_args()
    quiet_libraries()
    random = tested(given.work, RANDOM)
    found: list[Any] = []
    for method in given.methods.split(","):
        found += figures(method, tested(given.work, method), random)
        keep("jointly", False, "quality/jointly.py", found, {"num_rows": smollm2.NUM_ROWS, "budget": "1%"})


if __name__ == "__main__":
    main()
