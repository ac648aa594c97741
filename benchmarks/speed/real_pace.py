"""How many tokens a second SmolLM2 makes here: its dtype, threads, processes and batch size, before a long run.

    python benchmarks/speed/real_pace.py --work DIR

DIR is that of quality/real.py, with its model; nothing is made there. Each line is measured in processes of their own
(two at once, of one thread each, where that is said; their tokens are added), on rows of the pool, ten seconds for
gradients of a LoRA of rank 32 in two Γ forms, with as many tokens a pass, and as long for tuning steps of 16 rows, with
as many rows a pass. Prints a table and writes benchmarks/results/real_pace.json. Let nothing else run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from common import smollm2
from common.measure import Figure, keep
from common.places import target_file
from g2is.config import Config
from g2is.config.io import parse
from g2is.jobs.forecast import sampled
from g2is.jobs.measured import to_measure
from g2is.jobs.pace import SECONDS, Pace, pace_of_gradients, pace_of_training
from g2is.jobs.prepare import prepare
from g2is.jobs.read_data import read_inputs
from g2is.progress import Silent

WAYS = {"one thread": (1, 1), "two threads": (1, 2), "two processes of one thread": (2, 1)}  # processes, threads
DTYPES = ("bfloat16", "float32")
SIZES = ((1024, 2), (4096, 4), (8192, 8))  # tokens a pass of gradients, rows a pass of tuning


def measure(work: Path, dtype: str, tokens: int, num_rows: int) -> dict[str, float]:
    """Tokens a second of gradients and of tuning, in this process."""
    of = smollm2.settings()
    values = {
        "pool": smollm2.draw(work)[0],
        "targets": {"gsm8k": target_file("gsm8k", "dev")},
        "out": work / "unused",
        "model": {**smollm2.model(work), "dtype": dtype},
        "execution": {"batch_tokens": tokens},
        "gradients": of["gradients"],
        "warmup": {**of["warmup"], "device_batch_size": num_rows},
    }
    config: Config = parse(Config, values, "real_pace.py")
    prepared = prepare(config, Silent())
    with tempfile.TemporaryDirectory() as cache:
        pool = read_inputs(prepared, Path(cache), Silent()).pool
        rows = sampled(pool, len(pool))
        model = to_measure(prepared.model.load(torch.device("cpu")), config)
        found = {
            "gradients": pace_of_gradients(model, config, rows, SECONDS),
            "tuning": pace_of_training(model, config.warmup, rows, SECONDS),
        }
    return {name: _rate(pace) for name, pace in found.items()}


def _rate(pace: Pace) -> float:
    return pace.num_done / pace.seconds if pace.num_done else 0.0


def measured_apart(work: Path, way: str, dtype: str, size: tuple[int, int]) -> dict[str, float]:
    """The same of new processes, added up."""
    processes, threads = WAYS[way]
    command = [sys.executable, __file__, "--work", str(work), "--one", json.dumps([dtype, *size])]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(processes)]
    found = [json.loads(process.communicate()[0]) for process in running]
    return {name: sum(of[name] for of in found) for name in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        print(json.dumps(measure(given.work, *json.loads(given.one))))
        return
    figures: list[Figure] = []
    print("| | tokens a pass, rows a pass | gradients | tuning |\n|---|---|---|---|")
    for dtype in DTYPES:
        for way in WAYS:
            for size in SIZES:
                found = measured_apart(given.work, way, dtype, size)
                what = f"{dtype}, {way}"
                print(f"| {what} | {size[0]:,}, {size[1]} | {found['gradients']:.0f} | {found['tuning']:.0f} |")
                for name, rate in found.items():
                    at = f"{size[0]:,} tokens a pass" if name == "gradients" else f"{size[1]} rows a pass"
                    figures.append(Figure(f"{name}, {what}, {at}", round(rate, 1), None, True, " tokens/s"))
    keep("real_pace", False, "speed/real_pace.py", figures, {"model": smollm2.MODEL})


if __name__ == "__main__":
    main()
