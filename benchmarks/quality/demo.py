"""The demo's comparison over several seeds: tuning order, adapter and random rows change with the seed.

    python benchmarks/quality/demo.py [--work DIR] [--seeds 5]

Some minutes on 2 cores; given the same DIR again, it goes on from where it was. Writes benchmarks/results/demo.json:
the selections by skill, and for each seed the loss per answer token and the share of exact answers on 100 test rows.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from common.places import RESULTS
from g2is.cli.session import quiet_libraries
from g2is.config import Config, SelectionConfig
from g2is.demo.comparison import Outcome, compare
from g2is.demo.run import demo_config, demo_subsets, demo_tuning, read_tables, write_demo_sample
from g2is.demo.skills import SKILLS, TARGET_SKILL
from g2is.jobs.prepare import prepare
from g2is.jobs.run_folder import Selection
from g2is.jobs.select import select
from g2is.machine.environment import environment
from g2is.progress import Silent

METHODS = ("design", "g2is")  # the first is the demo's
RESULT = RESULTS / "demo.json"


def needed_share(selection: Selection) -> tuple[dict[str, int], float]:
    """The selection by skill, and the share of it in the skills that the target's own is made of."""
    lines = (selection.folder / "selected.jsonl").read_text().splitlines()
    skills = Counter(json.loads(line)["task"] for line in lines)
    return dict(skills.most_common()), sum(skills[name] for name in SKILLS[TARGET_SKILL].parts) / len(lines)


def outcomes(config: Config, selections: dict[str, Selection], work: Path, seed: int) -> list[dict[str, object]]:
    """The comparison with one seed, or what an earlier sitting wrote of it."""
    record = work / f"seed-{seed}" / "comparison.json"
    if not record.exists():
        prepared = prepare(config, Silent())
        pool, test = read_tables(prepared, work)
        default, *others = selections
        subsets = demo_subsets(selections[default].rows, len(pool), seed)
        subsets |= {f"selection, {name}": selections[name].rows for name in others}
        compare(prepared, pool, test, subsets, demo_tuning(seed), record.parent, Silent())
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
    selections: dict[str, Selection] = {}
    selected = {}
    for method in METHODS:
        selecting = SelectionConfig(method=method, budget=config.selection.budget)
        of_method = config.model_copy(update={"out": arguments.work / method, "selection": selecting})
        selections[method] = select(of_method)
        skills, share = needed_share(selections[method])
        selected[method] = {"skills": skills, "share_in_needed_skills": share}
        print(f"{method}: {share:.0%} in the needed skills, {skills}")
    by_seed = [outcomes(config, selections, arguments.work, seed) for seed in range(arguments.seeds)]
    result = {
        "machine": environment(),
        "budget": config.selection.budget,
        "selected": selected,
        "seeds": by_seed,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'tuned on':26} {'rows':>6} {'loss a token':>22} {'exact answers':>22}")
    for cells in zip(*by_seed, strict=True):
        found = [Outcome(**cell) for cell in cells]
        losses = [outcome.loss for outcome in found]
        exact = [outcome.exact_match_fraction for outcome in found]
        spread = (f"{mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]" for values in (losses, exact))
        print(f"{found[0].name:26} {asdict(found[0])['num_rows']:6,} {next(spread):>22} {next(spread):>22}")


if __name__ == "__main__":
    main()
