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

import g2is
from common import smollm2
from common.measure import Figure, keep
from common.places import target_file
from common.small_pool import TARGETS
from g2is.cli.session import quiet_libraries

METHODS = ("design", "less", "bids", "g2is")
RANDOM = "random"


def tested(work: Path, method: str) -> dict[str, smollm2.Losses]:
    """What the model loses on each target after tuning on the one selection of `method`."""
    out = work / "jointly" / method
    chosen = g2is.select(
        pool=smollm2.draw(work)[0],
        target={name: target_file(name, "dev") for name in TARGETS},
        model=smollm2.model(work),
        out=out / "selection",
        store=work / "choosing/store/seed-0",
        method=method,
        budget="1%",
        **smollm2.selecting_with_seed(0),
        execution={"report": False},
    )
    print(f"{method}: {len(chosen.ids)} rows", flush=True)
    return smollm2.tested_after(work, out, out / "selection", TARGETS)


def figures(method: str, losses: dict[str, smollm2.Losses], random: dict[str, smollm2.Losses]) -> list[Figure]:
    """Jointly − random on each target, beside the loss after as many rows for it alone, where real.py measured that."""
    found = []
    for target in TARGETS:
        alone = [cell.loss for cell in smollm2.kept_cells(method, target) if cell.key.seed == 0]
        note = f"{alone[0]:.4f} after as many rows for it alone" if alone else ""
        what = f"{method} on {target}: jointly − random"
        found.append(smollm2.difference(what, losses[target], random[target], target, note))
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
