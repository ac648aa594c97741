"""Every method on the demo's synthetic skills, where the needed ones are known.

    python benchmarks/quality/skills.py [--work DIR] [--seeds 3]

Some 20 minutes on 2 cores; goes on when given again. Writes benchmarks/results/skills.json: for each method the share
of its 120 rows that lies in the skills that the target is made of (of the pool 15 %), and the test loss after tuning.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import g2is
from common.places import RESULTS, sentence_encoder
from g2is.cli.session import quiet_libraries
from g2is.demo.run import demo_config, demo_tuning, write_demo_sample
from g2is.demo.skills import SKILLS, TARGET_SKILL
from g2is.machine.environment import environment
from g2is.methods import ALWAYS, METHODS

RESULT = RESULTS / "skills.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "less-rr, momentum-free": {"method": "less-rr", "form": "momentum-free"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("skills-benchmark"))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    quiet_libraries()
    sample = given.work / "sample"
    write_demo_sample(sample)
    config = demo_config(given.work)
    warmup: Any = config.warmup.model_dump(mode="json")
    tuning: Any = demo_tuning().model_dump(mode="json")
    comparison = g2is.compare(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        test=sample / "test.jsonl",
        model=sample / "model",
        out=given.work / "compared",
        methods={name: {"method": name} for name in METHODS if name not in ALWAYS} | VARIANTS,
        budgets=[config.selection.budget],
        num_seeds=given.seeds,
        warmup=warmup,
        gradients={"forms": ["momentum-free", "less"]},
        representation={"embedding_model": sentence_encoder()},
        tuning=tuning,
        evaluation={"generate": False},
    )
    skills = [json.loads(line)["task"] for line in (sample / "pool.jsonl").read_text().splitlines()]
    needed = SKILLS[TARGET_SKILL].parts
    found: dict[str, dict[str, Any]] = {}
    for cell in comparison.cells.values():
        of_method = found.setdefault(cell.method, {"needed_fraction": [], "loss": []})
        of_method["loss"].append(round(cell.loss, 4))
        if cell.rows is not None:
            of_method["needed_fraction"].append(round(mean(skills[row] in needed for row in cell.rows), 4))
    RESULT.write_text(json.dumps({"machine": environment(), "methods": found}, indent=1) + "\n")
    print(f"{'method':24} {'in needed skills':>26} {'loss a token':>26}")
    for name, values in sorted(found.items(), key=lambda item: mean(item[1]["loss"])):
        spread = [
            f"{mean(of):.3f} [{min(of):.3f}, {max(of):.3f}]" if of else "–"
            for of in (values["needed_fraction"], values["loss"])
        ]
        print(f"{name:24} {spread[0]:>26} {spread[1]:>26}")


if __name__ == "__main__":
    main()
