"""What `g2is plan` foretells, beside what then happens: the very command that was planned, run to its end.

    python benchmarks/speed/plan.py [--small] [--model DIR] [--rows N] [--times N] [--all]
    python benchmarks/speed/plan.py --like 8b --device cuda [--work DIR]

Without --model: rows drawn from the real pool, and base6m, in ../shared. With it, any local model, such as SmolLM2's,
named by its folder, with a rank of 16 and a warm-up of one pass, so that it takes minutes. With --like so too, of a
model of random weights in that shape with base6m's tokenizer, made below DIR, where the next run finds it. Each time
(with --all, gradients are of all linear layers) `g2is plan --json` and then `g2is select` are processes of their own,
with the same flags and a new store. Of each stage, and in all, the foretold seconds are put over those that it took:
stages by summary.json, all by the clock from start to end. On a CUDA device that `g2is plan --devices` knows by name,
what that foretells is put beside it as well; it stands on an assumed share of the peak, and has no goal. Writes
benchmarks/results/plan-NAME.json after each time.

Goal (issue 29): within 25 % of what then happens.
"""

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import base6m
from common.measure import Figure, extent, keep, median
from common.places import BASE6M, POOL, target_file
from common.shapes import add_like, folder_of
from g2is.machine.devices import named

WITHIN = 0.25
STAGES = {"warm-up": ("warm up",), "gradients": ("gradients of target", "gradients of pool")}
OF_ALL = {"gradients.parameters": "all", "warmup.learning_rate": "2e-4"}
OF_OTHER_MODELS = {"warmup.lora.rank": "16", "warmup.epochs": "1", "gradients.forms": "[less, momentum-free]"}


def drawn(place: Path, num_rows: int, seed: int) -> Path:
    """So many rows of the real pool, in its order."""
    with gzip.open(POOL, "rt", encoding="utf-8") as file:
        lines = file.readlines()
    rows = np.sort(np.random.default_rng(seed).choice(len(lines), min(num_rows, len(lines)), replace=False))
    place.write_text("".join(lines[row] for row in rows), encoding="utf-8")
    return place


def g2is(command: str, *arguments: str) -> tuple[str, float, float]:
    """What a command of its own process prints, the seconds that it took, and those of processors that it had."""
    begin, before = time.monotonic(), _processor_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "g2is", command, *arguments, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"g2is {command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout, time.monotonic() - begin, _processor_seconds() - before


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def card_by_name() -> str | None:
    """The CUDA device here, if `g2is plan --devices` knows it by the name that it gives itself."""
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    return name if named(name) else None


def once(model: Path, settings: dict[str, str], num_rows: int, seed: int, device: str) -> dict[str, Any]:
    """Plan a run, do it, and put seconds beside seconds."""
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        pool = drawn(work / "pool.jsonl", num_rows, seed)
        files = [str(pool), str(target_file("gsm8k", "dev")), "--model", str(model), "--budget", "5%", *flags]
        here = ["--set", f"execution.device={device}"]
        told, planning, of_planning = g2is("plan", *files, *here)
        planned, card = json.loads(told), card_by_name() if device == "cuda" else None
        by_name = json.loads(g2is("plan", *files, "--devices", f"1x{card}")[0]) if card else None
        _, wall, of_run = g2is("select", *files, *here, "--out", str(work / "run"))
        took = json.loads((work / "run/summary.json").read_text())["sittings"][-1]["seconds"]
    foretold = {name: step["seconds"] for name, step in planned["steps"].items()}
    happened = {name: sum(took.get(stage, 0.0) for stage in stages) for name, stages in STAGES.items()}
    return {
        "rows": planned["pool_rows"],
        "tokens": planned["pool_tokens"],
        "planning_seconds": round(planning, 1),
        # of one processor, which others may use: where the two differ, so do the seconds of one and the other
        "processor_share": {"plan": round(of_planning / planning, 2), "run": round(of_run / wall, 2)},
        "foretold_seconds": {name: round(of, 1) for name, of in foretold.items()},
        "happened_seconds": {name: round(of, 1) for name, of in happened.items()} | {"in all": round(wall, 1)},
        "stages_seconds": {name: round(of, 1) for name, of in took.items()},
        "foretold_over_happened": {
            **{name: round(foretold[name] / of, 3) for name, of in happened.items() if of},
            "in all": round(planned["seconds"] / wall, 3),
        },
        "times_by": planned["time_by"],
        "by_the_name_of_the_card": _by_name(by_name, happened),
    }


def _by_name(planned: dict[str, Any] | None, happened: dict[str, float]) -> dict[str, Any] | str:
    if planned is None:
        return "not told: no CUDA device, or none that g2is plan --devices knows"
    foretold = {name: planned["steps"][name]["seconds"] for name in happened}
    return {
        "times_by": planned["time_by"],
        "foretold_seconds": foretold,
        "foretold_over_happened": {name: round(foretold[name] / of, 3) for name, of in happened.items() if of},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few rows: some minutes")
    parser.add_argument("--model", type=Path, help="another model than base6m")
    parser.add_argument(
        "--rows", type=int, help="of the pool; default 37,026, and 1,000 of --small; of --model 400, 30"
    )
    parser.add_argument("--all", action="store_true", help="gradients of all linear layers, not of an adapter")
    parser.add_argument("--times", type=int, default=1, help="with other rows each time")
    add_like(parser)
    parser.add_argument("--work", type=Path, help="folder that keeps such a model; default: a temporary one")
    parser.add_argument("--device", default="cpu", help="that plan and run are told: cpu or cuda")
    given = parser.parse_args()
    if given.like and given.model:
        parser.error("--like: expected no --model beside it, found both; leave one out")
    is_other = given.like or given.model
    settings = {**(OF_OTHER_MODELS if is_other else base6m.SETTINGS), **(OF_ALL if given.all else {})}
    default = (30 if given.small else 400) if is_other else (1000 if given.small else 37_026)
    asked = {"model": given.model, "like": given.like, "rows": given.rows, "times": given.times}
    asked["device"] = given.device if given.device != "cpu" else None
    command = " ".join(["speed/plan.py", *(f"--{name} {of}" for name, of in asked.items() if of)])
    command += " --all" * given.all
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        model = given.model or BASE6M
        if given.like:
            model = folder_of(given.like, torch.device(given.device), given.work or Path(scratch), BASE6M)
        name = f"plan-{model.name}{'-all' * given.all}{'' if given.device == 'cpu' else f'-{given.device}'}"
        for seed in range(given.times):
            runs.append(once(model, settings, given.rows or default, seed, given.device))
            details = {"model": model.name, "settings": settings, "within": WITHIN, "runs": runs}
            keep(name, given.small, command, figures_of(runs), details)


def figures_of(runs: list[dict[str, Any]]) -> list[Figure]:
    """How far off each stage was at most; and by the card's name."""
    figures = []
    for name in ("warm-up", "gradients", "in all"):
        ratios = [run["foretold_over_happened"][name] for run in runs if name in run["foretold_over_happened"]]
        if ratios:
            figures.append(
                Figure(
                    f"{name}: foretold seconds off what it took",
                    round(max(abs(of - 1) for of in ratios), 3),
                    *(WITHIN, True),
                    spread=extent([abs(of - 1) for of in ratios]),
                    note=f"foretold over taken: {median(ratios):.3g}",
                )
            )
    for name in STAGES:
        told = [run["by_the_name_of_the_card"] for run in runs]
        ratios = [of["foretold_over_happened"][name] for of in told if isinstance(of, dict)]
        if ratios:
            what = f"{name}: foretold by the card's name, over what it took"
            figures.append(Figure(what, median(ratios), None, True, "x", extent(ratios)))
    return figures


if __name__ == "__main__":
    main()
