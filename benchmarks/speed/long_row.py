"""Peak memory and seconds of `g2is inspect` and `g2is select` on a pool with one very long row.

    python benchmarks/speed/long_row.py [--small] [--model FOLDER] [--limit GIB]

A pool of 120 short rows and one of 5, 20 or 60 MB (its prompt is that long; its answer is short), and the same pool
without it. Each command is a process of its own that may have `--limit` GiB of address space, so that one which takes
too much ends there and not with the machine; its peak is what the system says of it (VmHWM as `wait4` has it). `select`
stops at its plan (`--dry-run`): what comes after has rows of max_length tokens, however long they were. Models: the
demo's, stories260K and base6m, of which the latter two need /work/shared; or `--model`. Writes
benchmarks/results/long_row.json.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common.measure import GIB, Figure, keep
from common.places import BASE6M, BUNDLED_MODEL, SHARED
from g2is.demo.skills import write_pool, write_target

MB = 10**6
SIZES = (0, 5, 20, 60)
MODELS = (BUNDLED_MODEL, SHARED / "models/stories260K", BASE6M)
WORDS = [
    "the",
    "river",
    "of",
    "every",
    "small",
    "number",
    "12",
    "goes,",
    "naïve",
    "日本語",
    "🙂",
    "then\n",
    "return x;",
]


def write_files(folder: Path, size: int) -> None:
    """A pool with a row of `size` MB, and a target."""
    write_pool(folder / "pool.jsonl", num_rows=120)
    write_target(folder / "target.jsonl", num_rows=8)
    if size:
        block = " ".join(random.Random(0).choices(WORDS, k=20_000))
        prompt = (block * (size * MB // len(block.encode()) + 1)).encode()[: size * MB].decode(errors="ignore")
        with (folder / "pool.jsonl").open("a", encoding="utf-8") as lines:
            turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": "A short answer."}]
            lines.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")


def run(command: list[str], limit: int) -> dict[str, Any]:
    """Seconds, peak bytes and exit code of a command that may have `limit` bytes of address space."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "g2is", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    return {
        "seconds": round(time.perf_counter() - begin, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "code": os.waitstatus_to_exitcode(status),
        "said": said.strip().splitlines()[-1:] if status else [],
    }


def main() -> None:
    command_line = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command_line.add_argument("--small", action="store_true", help="rows of 5 MB at most, the demo's model alone")
    command_line.add_argument("--model", type=Path, action="append", help="folder of a model; may be repeated")
    command_line.add_argument("--limit", type=float, default=8, help="GiB of address space that a command may have")
    given = command_line.parse_args()
    models = [place for place in given.model or MODELS[: 1 if given.small else None] if place.exists()]
    cases: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES[:2] if given.small else SIZES:
            folder = Path(scratch) / str(size)
            folder.mkdir()
            write_files(folder, size)
            for model in models:
                pool, target = str(folder / "pool.jsonl"), str(folder / "target.jsonl")
                out = str(folder / f"out-{model.name}")
                select = ["select", pool, target, "--out", out, "--budget", "10%", "--dry-run"]
                commands = {
                    "inspect": ["inspect", pool, "--model", str(model)],
                    "select": [*select, "--model", str(model)],
                }
                for name, command in commands.items():
                    case = run(command, int(given.limit * GIB))
                    cases[f"{name}, {model.name}, {size} MB"] = case
                    print(f"{name}, {model.name}, {size} MB: {case}", flush=True)
    worst = max((case for case in cases.values()), key=lambda case: case["peak_mib"])
    figures = [
        Figure("commands that ended otherwise than well", sum(case["code"] != 0 for case in cases.values()), 0, True),
        Figure("peak memory, the most of all", worst["peak_mib"], None, True, " MiB"),
    ]
    keep("long_row", given.small, "speed/long_row.py", figures, {"cases": cases, "limit_gib": given.limit})


if __name__ == "__main__":
    main()
