"""Does it matter whether a target's end of turn is learned? SmolLM2, 80 of 8,000 rows for pubmedqa, answers of a word.

    python benchmarks/quality/end_of_turn.py --work DIR [--methods less,design]

DIR is that of real.py, whose store of seed 0 is selected from (`real.py --work DIR rows` makes it). The target's rows
are made once more without the end of turn (examples.learn_end_of_turn=pool), the model is tuned on what is chosen by
them and tested as in real.py, whose cells, by targets with it, they stand beside. Five minutes a method on one core.
Writes benchmarks/results/end_of_turn.json: losses (nats an answer token) less those, with 95 % intervals over test
examples, and how many rows are the same.
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
from g2is.cli.session import quiet_libraries
from g2is.comparison.cells import Cell, summed
from g2is.comparison.statistics import estimate, resampled_ratios

TARGET = "pubmedqa"


def cell_with(method: str) -> Cell:
    """The kept cell of `method`, by a target whose end of turn is learned."""
    for cell in read_cells(RESULTS / "real" / CELLS):
        if (cell.key.method, cell.key.target, cell.key.budget, cell.key.seed) == (method, TARGET, "1%", 0):
            return cell
    raise SystemExit(f"{RESULTS / 'real' / CELLS}: expected a cell of {method} on {TARGET}; make it with real.py first")


def measured(work: Path, method: str) -> Figure:
    """What the rows that `method` chooses without the end of turn are worth."""
    before, out, model = cell_with(method), work / "end_of_turn" / method, smollm2.model(work)
    chosen = g2is.select(
        pool=smollm2.draw(work)[0],
        target={TARGET: target_file(TARGET, "dev")},
        model=model,
        out=out / "selection",
        store=work / "choosing/store/seed-0",
        method=method,
        budget="1%",
        examples={"learn_end_of_turn": "pool"},
        **smollm2.selecting_with_seed(0),
        execution={"report": False},
    )
    tuning: Any = {**smollm2.settings()["tuning"], "seed": 0}
    tuned = g2is.train(data=out / "selection", model=model, out=out / "tuned", tuning=tuning)
    found = g2is.evaluate(
        model=model,
        out=out / "tested",
        test=smollm2.tests(work, [TARGET])[TARGET],
        adapter=tuned.adapter,
        evaluation={"generate": False},
    )
    both = summed(found.losses, found.num_learned), (before.losses * before.num_learned, before.num_learned)
    nats, tokens = (np.stack(of, axis=1) for of in zip(*both, strict=True))
    without, with_it = resampled_ratios(nats, tokens, 0, TARGET).T
    less = estimate(without - with_it)
    assert before.rows is not None
    common = len(set(map(int, before.rows)) & set(map(int, chosen.rows)))
    what = f"{method} on {TARGET}: without the target's end of turn − with it"
    note = f"{without[0]:.4f}, {with_it[0]:.4f} nats; {common} of {len(before.rows)} rows in common"
    return Figure(what, round(less.value, 4), None, True, "", (round(less.low, 4), round(less.high, 4)), note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--methods", default="less,design")
    given = parser.parse_args()
    quiet_libraries()
    found: list[Figure] = []
    for method in given.methods.split(","):
        found.append(measured(given.work, method))
        keep("end_of_turn", False, "quality/end_of_turn.py", found, {"num_rows": smollm2.NUM_ROWS, "budget": "1%"})


if __name__ == "__main__":
    main()
