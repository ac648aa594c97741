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

import g2is
from common import smollm2
from common.measure import Figure, keep
from common.places import target_file
from g2is.cli.session import quiet_libraries

TARGET = "pubmedqa"


def measured(work: Path, method: str) -> Figure:
    """What the rows that `method` chooses without the end of turn are worth."""
    out = work / "end_of_turn" / method
    before = [cell for cell in smollm2.kept_cells(method, TARGET) if cell.key.seed == 0]
    if not before:
        raise SystemExit(f"expected a kept cell of {method} on {TARGET} with seed 0; make it with real.py first")
    chosen = g2is.select(
        pool=smollm2.draw(work)[0],
        target={TARGET: target_file(TARGET, "dev")},
        model=smollm2.model(work),
        out=out / "selection",
        store=work / "choosing/store/seed-0",
        method=method,
        budget="1%",
        examples={"learn_end_of_turn": "pool"},
        **smollm2.selecting_with_seed(0),
        execution={"report": False},
    )
    without = smollm2.tested_after(work, out, out / "selection", [TARGET])[TARGET]
    rows = before[0].rows
    assert rows is not None
    common = len({*map(int, rows)} & {*map(int, chosen.rows)})
    what = f"{method} on {TARGET}: without the target's end of turn − with it"
    note = f"{common} of {len(rows)} rows in common"
    return smollm2.difference(what, without, smollm2.losses_of(before[0]), TARGET, note)


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
