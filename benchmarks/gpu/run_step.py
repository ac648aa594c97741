"""Runs a step in a process of its own, and keeps what came of it as OUT/steps/NAME.json."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from plan import Step, program_path
from probe import Machine

# step, what it says and its goal, status ("done", "failed", "timed out", "not run"), measured (on a device), made_from,
# seconds, card, versions, why (of what is not done), and what the program itself wrote: figures, result. Of one that
# failed or was ended that is what it had written so far, if anything
Record = dict[str, Any]
GRACE_SECONDS = 10  # between asking a step to end, and ending it


def read_record(out: Path, name: str) -> Record | None:
    """What is kept of a step; None if nothing is, or it cannot be read."""
    try:
        found: Record = json.loads(_place(out, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def finished(record: Record | None, step: Step, machine: Machine) -> bool:
    """Whether the step need not be run: done from the same, or done on a device where there is none now."""
    if record is None or record["status"] != "done":
        return False
    if record["measured"] and not machine.card:
        return True
    return bool(record["measured"]) == bool(machine.card) and record["made_from"] == step.made_from(machine)


def run(step: Step, machine: Machine, out: Path, limit: int) -> Record:
    """Run the step for at most `limit` seconds and write its record; of one that cannot be run, why."""
    record: Record = {
        "step": step.name,
        "says": step.says,
        "goal": step.goal,
        "status": "not run",
        "measured": False,
        "made_from": step.made_from(machine),
        "seconds": None,
        "card": machine.card,
        "versions": machine.versions,
    }
    why = _why_not(step, machine)
    try:
        record |= {"why": why} if why else _run(step, machine, out, limit)
    except BaseException:
        why = "the command was stopped; given again it goes on where it can"
        record |= {"status": "failed", "why": why, **_so_far(_results(out, step), machine)}
        raise
    finally:
        _write(_place(out, step.name), record)
    return record


def _why_not(step: Step, machine: Machine) -> str | None:
    if why := step.cannot():
        return why
    return "; ".join(machine.missing[name] for name in step.needs if name in machine.missing) or None


def _run(step: Step, machine: Machine, out: Path, limit: int) -> Record:
    results, log = _results(out, step), out / "logs" / f"{step.name}.log"
    shutil.rmtree(results, ignore_errors=True)
    for folder in (results, log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(program_path(step)), *step.arguments_on(machine)]
    begin = time.monotonic()
    with log.open("a", encoding="utf-8") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        environment = machine.environment | {"G2IS_BENCHMARK_RESULTS": str(results)}
        code = _wait(command, output, environment, out / "work", limit)
    found: Record = {"seconds": round(time.monotonic() - begin, 1)}
    found |= _so_far(results, machine)
    if code is None:
        return found | {"status": "timed out", "why": f"after {limit} s; given again it goes on where it can"}
    if code or "figures" not in found:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        return found | {"status": "failed", "why": f"exit code {code}; {log}", "log": tail}
    return found | {"status": "done"}


def _so_far(results: Path, machine: Machine) -> Record:
    """What a program wrote to the folder `results`; {} if that is not one file, or it was ended while it wrote."""
    written = sorted(results.glob("*.json"))
    if len(written) != 1:
        return {}
    try:
        result = json.loads(written[0].read_text(encoding="utf-8"))
    except ValueError:
        return {}
    figures = result.pop("figures")
    if not machine.card:  # nobody is to take a small run on a CPU for one that meets a goal, or misses it
        figures = [figure | {"goal": None, "met": None} for figure in figures]
    return {"measured": bool(machine.card), "figures": figures, "result": result}


def _results(out: Path, step: Step) -> Path:
    return out / "work/results" / step.name


def _wait(command: list[str], output: Any, environment: dict[str, str], where: Path, limit: int) -> int | None:
    """The command's exit code; None if it was ended, with all that it had started, for taking longer than `limit`."""
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=where, start_new_session=True
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        _end(process)
        return None
    except BaseException:  # this command is itself stopped
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(GRACE_SECONDS)


def _write(place: Path, record: Record) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_suffix(".partial")
    temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(place)


def _place(out: Path, name: str) -> Path:
    return out / "steps" / f"{name}.json"
