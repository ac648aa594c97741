"""All that only a CUDA device can say, in one command: tests and measurements, step by step, and one table at the end.

    make cuda OUT=dir [WHEELS=dir] [MODEL=dir] [ONLY="walk design"]
    python benchmarks/gpu --out DIR [--wheels DIR] [--model DIR] [--only walk design] [--limit S] [--total S]

No network is needed. Each step is a process of its own with at most nine minutes (--limit), and at most what is left of
--total, which is for a machine that ends commands by itself. It leaves OUT/steps/NAME.json, also when it failed or the
command was stopped, and its output in OUT/logs/NAME.log. Given again, the command goes on: a step that is done is not
done again (remove its JSON to measure anew), one that failed or ran out of time is. The table is printed, and is in
OUT/table.md.

Where there is no CUDA device each step runs small, on the CPU, so that it is known to work; its figures are marked and
are not compared with goals. Packages that are missing may be given as wheels; a step that needs one that is neither
there nor given is left out, and says so. Only Python's standard library is needed to begin.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from plan import Given, Step, steps_of
from probe import Machine, find_machine, install_wheels
from run_step import GRACE_SECONDS, Record, finished, read_record, run
from summary import table_of, write_table

LIMIT_SECONDS = 540
LEAST_SECONDS = 30  # in which a step may come to a figure


def main() -> None:
    """Read the command line, do what is left to do, show the table; exit code 1 if a step failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of results; given again, the steps go on")
    parser.add_argument("--wheels", type=Path, help="folder of wheels of what is missing here, and of a model in parts")
    parser.add_argument(
        "--model", type=Path, help="folder of a chat model to select with, in place of that in --wheels"
    )
    parser.add_argument("--only", nargs="+", metavar="STEP", help="names of steps")
    parser.add_argument("--limit", type=int, default=LIMIT_SECONDS, help="seconds that a step may take")
    parser.add_argument("--total", type=float, default=float("inf"), help="seconds that all of it may take")
    given = parser.parse_args()
    end = time.monotonic() + given.total
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the step would go on without this command
    for name in ("wheels", "model"):
        folder = getattr(given, name)
        if folder is not None and not folder.is_dir():
            parser.error(f"--{name}: expected a folder, found none at {folder}")
    out = given.out.absolute()
    site = install_wheels(given.wheels, out / "site") if given.wheels else None
    machine = find_machine(site)
    all_steps = steps_of(Given(out, given.wheels and given.wheels.absolute(), given.model), machine)
    names = [step.name for step in all_steps]
    if unknown := [name for name in given.only or [] if name not in names]:
        parser.error(f"--only: expected some of {', '.join(names)}, found {', '.join(unknown)}")
    say_what_is_there(machine, all_steps)
    for step in all_steps:
        left = end - time.monotonic() - GRACE_SECONDS
        if (not given.only or step.name in given.only) and left > LEAST_SECONDS:
            do(step, machine, out, int(min(given.limit, left)))
    records = {step.name: read_record(out, step.name) for step in all_steps}
    table = table_of(all_steps, records)
    write_table(out / "table.md", table)
    print(f"\n{table}")
    if any(record is not None and record["status"] in ("failed", "timed out") for record in records.values()):
        sys.exit(1)


def say_what_is_there(machine: Machine, all_steps: list[Step]) -> None:
    print(f"{machine.card or 'no CUDA device: every step runs small, on the CPU'}; {machine.versions}", flush=True)
    shared = Path(machine.environment["G2IS_SHARED"])
    if not shared.is_dir():
        print(f"no real pool at {shared} (G2IS_SHARED): the sample of `g2is demo` stands for it", flush=True)
    for package, reason in machine.missing.items():
        without = [step.name for step in all_steps if package in step.needs]
        if without:
            print(f"{reason}: not run are {', '.join(without)}", flush=True)


def do(step: Step, machine: Machine, out: Path, limit: int) -> None:
    """Run the step unless it is done, or cannot be run here."""
    record: Record | None = read_record(out, step.name)
    if finished(record, step, machine):
        print(f"{step.name}: done", flush=True)
        return
    print(f"{step.name} …", end=" ", flush=True)
    made = run(step, machine, out, limit)
    print(made["status"] + (f", {made['seconds']:.0f} s" if made["seconds"] else f": {made['why']}"), flush=True)


if __name__ == "__main__":
    main()
