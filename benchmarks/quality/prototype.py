"""What the first measurement of method.md said, again: selectors under both Γ forms on 10,000 rows, 1 % = 100 of them.

    python benchmarks/quality/prototype.py --work DIR [--seeds 2]

Needs ../shared. About 20 s a cell on 2 quiet cores, 20 minutes a seed for its store; goes on when given again. Writes
benchmarks/results/prototype.json.
"""

import argparse
import shutil
from pathlib import Path

from common.places import RESULTS
from common.small_pool import FORMS, compare

SELECTORS: dict[str, dict[str, object]] = {
    "walk, official": {"method": "official"},
    "walk, g2is": {"method": "g2is"},
    "walk, mean direction": {"method": "g2is", "core": "mean"},
    "top": {"method": "less"},
    "round-robin": {"method": "less-rr"},
    "match": {"method": "match"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for stores, selections and cells (1 GB)")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    methods = {f"{name}, {form}": {**settings, "form": form} for name, settings in SELECTORS.items() for form in FORMS}
    made = compare(given.work, "prototype", {**methods, "rds+": {"method": "rds+"}}, given.seeds)
    shutil.copyfile(made / "comparison.json", RESULTS / "prototype.json")
    print((made / "comparison.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
