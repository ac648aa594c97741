"""What the first measurement of method.md said, again: selectors under both Γ forms on 10,000 rows, 1 % = 100 of them.

    python benchmarks/prototype.py --work DIR [--seeds 2]

Needs ../shared. About 20 s a cell on 2 quiet cores, 20 minutes a seed for its store; goes on when given again. Writes
benchmarks/results/prototype.json.
"""

import argparse
import gzip
import shutil
from pathlib import Path

import numpy as np

import g2is

SHARED = Path(__file__).resolve().parents[2] / "shared"
RESULT = Path(__file__).parent / "results" / "prototype.json"
TARGETS = ("gsm8k", "simplification_asset", "pubmedqa", "code_gpteacher")
FORMS = ("less", "momentum-free")
NUM_ROWS = 10_000
SELECTORS: dict[str, dict[str, object]] = {
    "walk, official": {"method": "official"},
    "walk, g2is": {"method": "g2is"},
    "walk, mean direction": {"method": "g2is", "core": "mean"},
    "top": {"method": "less"},
    "round-robin": {"method": "less-rr"},
    "match": {"method": "match"},
}


def draw(work: Path) -> Path:
    """A pool of NUM_ROWS rows of the shared one, drawn with seed 0."""
    place = work / "pool.jsonl"
    if not place.exists():
        with gzip.open(SHARED / "data/pool.jsonl.gz", "rt", encoding="utf-8") as file:
            lines = file.readlines()
        rows = np.sort(np.random.default_rng(0).choice(len(lines), NUM_ROWS, replace=False))
        place.write_text("".join(lines[row] for row in rows), encoding="utf-8")
    return place


def compare(work: Path, out: str, methods: dict[str, dict[str, object]], seeds: int, **warmup: object) -> Path:
    """Compare `methods` on the small pool, and return the folder of the comparison."""
    work.mkdir(parents=True, exist_ok=True)
    g2is.compare(
        pool=draw(work),
        target={name: SHARED / f"data/targets/{name}.dev.jsonl.gz" for name in TARGETS},
        test={name: SHARED / f"data/targets/{name}.test.jsonl.gz" for name in TARGETS},
        model=SHARED / "models/base6m",
        out=work / out,
        methods=methods,
        budgets=["1%"],
        num_seeds=seeds,
        warmup={"learning_rate": 1e-3, "lora": {"rank": 32, "alpha": 128}, **warmup},
        gradients={"forms": list(FORMS), "projection": {"dim": 4096}},
        tuning={
            "learning_rate": 2e-3,
            "batch_size": 16,
            "lora": {"rank": 32, "alpha": 128, "dropout": 0.0},
            "bf16": True,
        },
        evaluation={"generate": False},
        execution={"batch_tokens": 1024},
    )
    return work / out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for stores, selections and cells (1 GB)")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    methods = {f"{name}, {form}": {**settings, "form": form} for name, settings in SELECTORS.items() for form in FORMS}
    made = compare(given.work, "prototype", {**methods, "rds+": {"method": "rds+"}}, given.seeds)
    shutil.copyfile(made / "comparison.json", RESULT)
    print((made / "comparison.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
