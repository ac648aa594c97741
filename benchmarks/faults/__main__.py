"""What a run survives, in one table: damage, kills, limits, hostile files and models, odd numbers, fuzzing.

    make faults          at most 45 minutes on two cores; writes benchmarks/results/faults.json
    python benchmarks/faults [--only damages-1 …] [--share 0.1] [--seed 0]

Each part is a process of its own, two at a time, that stops when its share of the time is over: how many cases it came
to is in the table. With --only the other parts of the file stay as they are. Exit code 1 if anything came out that must
not: a damage that nobody saw, other bytes after a kill, a traceback, a hang.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common.places import RESULTS
from faults.table import as_table, bad_outcomes, merged
from g2is.machine.environment import environment

# Seconds of each part; two run at a time, in this order. A name with a number is one of several parts, with a seed of
# its own.
BUDGETS = {
    "kills-1": 960,
    "kills-2": 960,
    "damages-1": 720,
    "damages-2": 720,
    "fuzz-1": 600,
    "fuzz-2": 600,
    "odd_numbers": 320,
    "hostile": 150,
    "limits": 200,
    "models": 100,
}


def main() -> None:
    """Read the command line, run the parts, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="PART", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--share", type=float, default=1.0, help="of the time of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "faults.json")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # what this command starts for each
    given = parser.parse_args()
    if given.part:
        given.out.write_text(json.dumps(_rows_of(given.part, given.share, given.seed)))
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as two:
        done = list(two.map(lambda part: _in_a_process(part, given, Path(folder)), given.only))
    before = json.loads(given.out.read_text())["parts"] if given.out.exists() and given.only != list(BUDGETS) else {}
    found: dict[str, Any] = {**before, **dict(zip(given.only, done, strict=True))}
    parts = {name: found[name] for name in BUDGETS if name in found}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"parts": parts}, indent=1, ensure_ascii=False) + "\n")
    rows = merged([row for part in parts.values() for row in part["rows"]])
    print(as_table(rows))
    print(f"\n{environment()['processor']}; {given.out}")
    if any(bad_outcomes(row) for row in rows):
        sys.exit(1)


def _rows_of(part: str, share: float, seed: int) -> list[dict[str, Any]]:
    name, _, number = part.partition("-")
    rows: list[dict[str, Any]] = importlib.import_module(f"faults.{name}").run(
        BUDGETS[part] * share, seed + int(number or 0)
    )
    return rows


def _in_a_process(part: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    begin, to = time.monotonic(), folder / f"{part}.json"
    arguments = ["--part", part, "--share", str(given.share), "--seed", str(given.seed), "--out", str(to)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )
    if done.returncode:
        rows: list[dict[str, Any]] = [{"what": part, "tried": 0, "broke off": 1, "note": done.stdout[-2000:]}]
        print(f"{part} broke off: {done.stdout[-2000:]}", file=sys.stderr, flush=True)  # told now, not in half an hour
    else:
        rows = json.loads(to.read_text())
    minutes = round((time.monotonic() - begin) / 60, 1)
    print(f"{part}: {sum(row['tried'] for row in rows)} tried, {minutes} minutes", file=sys.stderr, flush=True)
    return {"seed": given.seed, "minutes": minutes, "environment": environment(), "rows": rows}


if __name__ == "__main__":
    main()
