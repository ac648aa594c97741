"""The small versions of all benchmarks of speed, in one table: figures beside goals, and what became slower.

    make bench
    python benchmarks/speed/table.py [--only extraction walk] [--bergson /tmp/bergson-venv/bin/python]

On base6m and the real pool where ../shared is there, else on the bundled sample. Under 10 minutes on 2 cores. A figure
is compared with that of the commit that is checked out (`results/NAME-small.json` there) and said to be worse if it is
so by more than a fifth; only figures of one processor compare. What is measured replaces those files: commit them with
the change that moved them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.goals import BERGSON, EXTRACTION
from common.measure import result_path
from common.places import ROOT, SHARED
from g2is.machine.environment import environment

_WORSE = 1.2
_BERGSON = "/tmp/bergson-venv/bin/python"


@dataclass(frozen=True)
class Bench:
    """One script with its arguments, and the stem of the file that it writes."""

    script: str
    arguments: Sequence[str]
    result: str

    @property
    def command(self) -> str:
        return " ".join([f"speed/{self.script}.py", *self.arguments])


@dataclass(frozen=True)
class Line:
    what: str
    goal: str
    figure: str
    verdict: str
    command: str


def benches(bergson: str) -> list[Bench]:
    shared = ["--shared"] if SHARED.is_dir() else []
    name = "shared" if shared else "sample"
    return [
        *(Bench("extraction", [*shared, "--rank", str(rank)], f"extraction-{name}-r{rank}") for rank in EXTRACTION),
        Bench("less_loop", shared, f"less_loop-{name}-r16"),
        Bench(
            "bergson_build",
            [*shared, *([] if bergson == _BERGSON else ["--bergson", bergson])],
            f"bergson_build-{name}-r16",
        ),
        Bench("walk", [], "walk"),
        Bench("memory", shared, f"memory-{name}"),
        Bench("growth", shared, f"growth-{name}-r16"),
        Bench("second_target", shared, f"second_target-{name}"),
    ]


def run(bench: Bench, log: Path) -> dict[str, Any] | None:
    """What the script's small version wrote; None if it failed."""
    command = [sys.executable, str(ROOT / f"benchmarks/speed/{bench.script}.py"), *bench.arguments, "--small"]
    with log.open("a") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        done = subprocess.run(command, stdout=output, stderr=output, check=False)
    if done.returncode:
        return None
    found: dict[str, Any] = json.loads(result_path(bench.result, small=True).read_text())
    return found


def committed(bench: Bench) -> dict[str, Any] | None:
    """The result file of the commit that is checked out, if it has one."""
    place = result_path(bench.result, small=True).relative_to(ROOT)
    shown = subprocess.run(["git", "show", f"HEAD:{place}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        return None
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def became_worse(new: dict[str, Any], old: dict[str, Any]) -> bool:
    a, b = (new["value"], old["value"]) if new["at_most"] else (old["value"], new["value"])
    return bool(a > _WORSE * b)


def lines(bench: Bench, result: dict[str, Any], before: dict[str, Any] | None) -> list[Line]:
    processor = environment()["processor"]
    same_machine = before is not None and before["machine"]["processor"] == processor
    old = {figure["what"]: figure for figure in before["figures"]} if before and same_machine else {}
    made = []
    for figure in result["figures"]:
        unit, spread = figure["unit"], figure["spread"]
        shown = f"{figure['value']:.3g}{unit}" + (f" [{spread[0]:.3g}, {spread[1]:.3g}]" if spread else "")
        verdict = {True: "met", False: "missed", None: ""}[figure["met"]]
        was = old.get(figure["what"])
        if was is not None and became_worse(figure, was):
            verdict = f"{verdict} WORSE than committed {was['value']:.3g}{unit}".lstrip()
        goal = "" if figure["goal"] is None else f"{'≤' if figure['at_most'] else '≥'} {figure['goal']:.3g}{unit}"
        made.append(Line(figure["what"], goal, shown, verdict, bench.command))
        if figure["note"]:
            made.append(Line(f"  {figure['note']}", "", "", "", ""))
    return made


def show(table: Sequence[Line]) -> None:
    titles = Line("what", "goal", "figure", "", "full version: python benchmarks/…")
    columns = [[getattr(line, name) for line in (titles, *table)] for name in Line.__dataclass_fields__]
    widths = [max(len(cell) for cell in column) for column in columns]
    for row in zip(*columns, strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", help="names of scripts")
    parser.add_argument("--bergson", default=_BERGSON, help="python of the environment it is in")
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    log = Path(tempfile.gettempdir()) / "g2is-bench.log"
    log.unlink(missing_ok=True)
    table: list[Line] = []
    for bench in benches(given.bergson):
        if given.only and bench.script not in given.only:
            continue
        if bench.script == "bergson_build" and not Path(given.bergson).exists():
            why = "not measured: bergson is not installed"
            table.append(Line("bergson build over ours", f"≥ {BERGSON}x", "", why, bench.command))
            continue
        before, begin = committed(bench), time.monotonic()
        print(f"{bench.command} --small …", end=" ", flush=True)
        result = run(bench, log)
        print(f"{time.monotonic() - begin:.0f} s", flush=True)
        if result is None:
            table.append(Line(bench.script, "", "", f"FAILED: see {log}", bench.command))
        else:
            table += lines(bench, result, before)
    table.append(Line("all that a CUDA device is for", "", "", "not measured: make cuda OUT=dir, on one", ""))
    print()
    show(table)
    if any("FAILED" in line.verdict for line in table):
        sys.exit(1)


if __name__ == "__main__":
    main()
