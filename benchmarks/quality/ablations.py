"""What each mend of the published walk is worth: `g2is` with one of them taken back, on the prototype's pool; and
what the settings of `design`, the default, are worth.

    python benchmarks/quality/ablations.py --work DIR [--seeds 2] [--each]

Needs ../shared. Shares DIR, its store and its random cells with prototype.py; about 30 s a cell on 2 quiet cores, and
goes on when given again. Writes benchmarks/results/ablations.json. --each compares rows summed over the warm-up's four
checkpoints with those of the last, for which it extracts four times as long, and writes ablations-each.json.
"""

import argparse
import shutil
from pathlib import Path

from common.places import RESULTS
from common.small_pool import compare

WALK: dict[str, object] = {"method": "g2is", "form": "momentum-free"}
TAKEN_BACK: dict[str, dict[str, object]] = {
    "mean direction, centred": {"core": "pca"},
    "mean direction alone": {"core": "mean"},
    "sign": {"orient": False},
    "norms": {"normalize_targets": False},
    "exact budget": {"exact_budget": False},
    "conflict tolerance": {"conflict_tolerance": 0.0},
    "conflict rule": {"conflict_tolerance": 1.0},
    "drift, to the step before": {"consistency_reference": "previous"},
    "drift, absolute": {"consistency_reference": "previous", "consistency_sign": "absolute"},
    "duplicates": {"duplicate_threshold": None},
    "conflicts across components": {"cross_component_conflicts": True},
    "form less": {"form": "less"},
    "delta 0": {"delta": 0.0},
    "delta 0.95": {"delta": 0.95},
    "core fraction 0.25": {"core_fraction": 0.25},
    "core fraction 0.9": {"core_fraction": 0.9},
}
DESIGN: dict[str, dict[str, object]] = {
    "design": {"method": "design"},
    "design, form less": {"method": "design", "form": "less"},
    "design, noise 0.3": {"method": "design", "noise": 0.3},
    "design, noise 3": {"method": "design", "noise": 3.0},
    "design, duplicates": {"method": "design", "duplicate_threshold": None},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="that of prototype.py")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--each", action="store_true", help="rows of every checkpoint against those of the last")
    given = parser.parse_args()
    if given.each:
        several: dict[str, dict[str, object]] = {"walk": WALK, "design": DESIGN["design"], "top": {"method": "less"}}
        made = compare(given.work, "each", several, given.seeds, checkpoints="each")
    else:
        taken_back = {name: {**WALK, **settings} for name, settings in TAKEN_BACK.items()}
        made = compare(given.work, "prototype", {"walk": WALK, **taken_back, **DESIGN}, given.seeds)
    shutil.copyfile(made / "comparison.json", RESULTS / f"ablations{'-each' if given.each else ''}.json")
    print((made / "comparison.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
