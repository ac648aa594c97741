"""A whole `g2is select` on the real pool, stage by stage on one run folder: a stage that was stopped goes on.

    python benchmarks/gpu/whole_select.py {warmup,gradients,select} --model DIR --work DIR [--six-million] [--small]

Needs ../shared. The target is GSM8K, 1 % is selected by `design`, and all settings are defaults but, for a model of six
million parameters, those under which it learns. Seconds are those of the stages, over all sittings.
"""

import argparse
import gzip
import json
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from common import base6m
from common.measure import Figure, keep
from common.places import POOL, target_file

SMALL = {
    **{"warmup.fraction": "0.25", "warmup.epochs": "1", "warmup.lora.rank": "8", "warmup.lora.alpha": "32"},
    "selection.budget": "4",
}
SMALL_ROWS = {"pool": 24, "target": 4}
NAMES = {"warmup": "warm-up", "gradients": "gradients", "select": "whole select"}


def short(source: Path, place: Path, num_rows: int) -> Path:
    """The first rows of `source`."""
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        place.write_text("".join(islice(lines, num_rows)), encoding="utf-8")
    return place


def sittings_of(run: Path) -> list[dict[str, Any]]:
    """What each sitting of a run took, the ended ones' too."""
    summary = run / "summary.json"
    found: list[dict[str, Any]] = json.loads(summary.read_text())["sittings"] if summary.exists() else []
    return found


def seconds_of(sittings: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds by stage, over all of them."""
    total: Counter[str] = Counter()
    for sitting in sittings:
        total.update(sitting["seconds"])
    return {stage: round(seconds, 2) for stage, seconds in total.items()}


def sittings_before(stage: str, run: Path) -> int:
    """How many sittings there were before `stage` first began: those since then are its own, the ended ones too."""
    record = run.parent / "stages.json"
    found: dict[str, int] = json.loads(record.read_text()) if record.exists() else {}
    if stage not in found:
        found[stage] = len(sittings_of(run))
        record.write_text(json.dumps(found))
    return found[stage]


def made_of(run: Path) -> dict[str, int]:
    """How many rows of each source a finished selection has."""
    lines = (run / "selected.jsonl").read_text(encoding="utf-8").splitlines()
    return dict(Counter(json.loads(line).get("source", "") for line in lines).most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=list(NAMES))
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder of run and store (2 GB)")
    parser.add_argument("--six-million", action="store_true", help="the model is base6m, or as small")
    parser.add_argument("--small", action="store_true", help=f"{SMALL_ROWS['pool']} rows: half a minute on a CPU")
    given = parser.parse_args()
    work = given.work / ("small" if given.small else "whole")
    work.mkdir(parents=True, exist_ok=True)
    pool, target = POOL, target_file("gsm8k", "dev")
    settings = dict(base6m.SETTINGS) if given.six_million else {}
    if given.small:
        pool = short(pool, work / "pool.jsonl", SMALL_ROWS["pool"])
        target = short(target, work / "target.jsonl", SMALL_ROWS["target"])
        settings |= SMALL
    run = work / "run"
    before = 0 if given.stage == "select" else sittings_before(given.stage, run)
    command = [
        *(sys.executable, "-m", "g2is", given.stage, str(pool), str(target), "--model", str(given.model)),
        *("--out", str(run), "--store", str(work / "store")),
        *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
    ]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(f"g2is {given.stage} ended with {code}")
    sittings = sittings_of(run)[before:]
    of_stage = seconds_of(sittings)
    details: dict[str, Any] = {"settings": settings, "seconds": of_stage, "sittings": sittings}
    note = f"in {len(sittings)} sittings" if len(sittings) > 1 else ""
    if given.stage == "select":
        details["selected"] = made_of(run)
        total = sum(details["selected"].values())
        note = f"{total} rows"
        if not given.small:
            note += f", {details['selected'].get('gsm8k', 0) / total:.0%} of them GSM8K's (of the pool 20 %)"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    what = f"{NAMES[given.stage]}: {given.model.name}, {device}"
    figure = Figure(what, round(sum(of_stage.values()), 1), None, True, " s", None, note)
    keep(f"whole_select-{given.stage}", given.small, f"gpu/whole_select.py {given.stage}", [figure], details)


if __name__ == "__main__":
    main()
