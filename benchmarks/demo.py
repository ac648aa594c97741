"""The demo's comparison over several seeds: tuning order, adapter and random rows change with the seed.

    python benchmarks/demo.py [--work DIR] [--seeds 5]

Some minutes on 2 cores; given the same DIR again, it goes on from where it was. Writes benchmarks/results/demo.json:
the selection by skill, and for each seed the loss per answer token and the share of exact answers on 100 test rows.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from g2is import pipeline
from g2is.cli.session import quiet_libraries
from g2is.config import Config
from g2is.demo.comparison import Outcome, compare
from g2is.demo.run import demo_config, demo_tuning, read_tables, write_demo_sample
from g2is.demo.skills import SKILLS, TARGET_SKILL
from g2is.prepare import prepare
from g2is.progress import Silent
from machine import describe

RESULT = Path(__file__).parent / "results" / "demo.json"


def outcomes(config: Config, work: Path, seed: int) -> list[dict[str, object]]:
    """The comparison with one seed, or what an earlier sitting wrote of it."""
    record = work / f"seed-{seed}" / "comparison.json"
    if not record.exists():
        prepared = prepare(config, Silent())
        selection = pipeline.select(config)
        pool, test = read_tables(prepared, work)
        compare(prepared, pool, test, selection.rows, demo_tuning(seed), record.parent, Silent())
    found: list[dict[str, object]] = json.loads(record.read_text())["outcomes"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("demo-benchmark"))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    quiet_libraries()
    write_demo_sample(arguments.work / "sample")
    config = demo_config(arguments.work)
    selection = pipeline.select(config)
    lines = (selection.folder / "selected.jsonl").read_text().splitlines()
    skills = Counter(json.loads(line)["task"] for line in lines)
    by_seed = [outcomes(config, arguments.work, seed) for seed in range(arguments.seeds)]
    result = {
        "machine": describe(),
        "budget": config.selection.budget,
        "selected": dict(skills.most_common()),
        "share_in_needed_skills": sum(skills[name] for name in SKILLS[TARGET_SKILL].parts) / len(lines),
        "seeds": by_seed,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"selected: {dict(skills.most_common())}")
    print(f"{'tuned on':12} {'rows':>6} {'loss a token':>22} {'exact answers':>22}")
    for cells in zip(*by_seed, strict=True):
        found = [Outcome(**cell) for cell in cells]
        losses = [outcome.loss for outcome in found]
        exact = [outcome.exact_match_fraction for outcome in found]
        spread = (f"{mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]" for values in (losses, exact))
        print(f"{found[0].name:12} {asdict(found[0])['num_rows']:6,} {next(spread):>22} {next(spread):>22}")


if __name__ == "__main__":
    main()
