"""Hostile files against the real command line: refused with one message, a traceback, a hang, or something that ran.

PYTHONPATH=src:benchmarks python -m faults.hostile SECONDS [SEED]
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hostile_cases import HOSTILE, RAN
from small_run import MODEL, SMALL, set_flags
from wrong_input import Place, check_one_message, listing

from faults import ROOT
from g2is.demo.skills import write_pool, write_target

_TIMEOUT = 120.0  # seconds: starting takes some of them on a busy machine
OUTCOMES = ("refused", "accepted", "traceback", "hang", "escaped")


def run(budget_s: float, seed: int) -> list[dict[str, Any]]:
    """A row for each kind of hostile file, with how many were tried: a seeded sample of what the budget allows."""
    with tempfile.TemporaryDirectory() as name:
        folder, until = Path(name), time.monotonic() + budget_s
        write_pool(folder / "pool.jsonl", num_rows=150)
        write_target(folder / "target.jsonl", num_rows=8)
        finished = folder / "finished"
        files = [folder / "pool.jsonl", folder / "target.jsonl", "--model", MODEL]
        flags = ["--budget", "10%", "--out", finished, *set_flags(SMALL)]
        done = _command(["select", *files, *flags], folder)
        assert done[0] == 0, done[2]
        names = sorted(HOSTILE)
        random.Random(seed).shuffle(names)
        rows: dict[str, dict[str, Any]] = {}
        for number, case in enumerate(names):
            if time.monotonic() > until:
                break
            here = folder / f"case-{number}"
            here.mkdir()
            place = Place(here, folder / "pool.jsonl", folder / "target.jsonl", finished)
            found, told = outcome(place, case)
            row = rows.setdefault(_kind(case), {"what": _kind(case), "tried": 0, **dict.fromkeys(OUTCOMES, 0)})
            row["tried"] += 1
            row[found] += 1
            if found != "refused":
                row["note"] = f"{row.get('note', '')} {case}: {told[-300:]}".strip()
    return [rows[kind] for kind in sorted(rows)]


def outcome(place: Place, name: str) -> tuple[str, str]:
    """What becomes of the case, and what the command said."""
    command = HOSTILE[name].command(place)
    around = listing(place.finished, place.pool.parent / "pool.jsonl")
    try:
        code, out, err = _command(command, place.here)
    except subprocess.TimeoutExpired:
        return "hang", ""
    if list(place.here.rglob(RAN)) or listing(place.finished, place.pool.parent / "pool.jsonl") != around:
        return "escaped", err
    if code == 0:
        return "accepted", out
    try:
        check_one_message((code, out, err), HOSTILE[name].fragments)
    except AssertionError as error:
        return "traceback", f"{error} {err}"
    return "refused", err


def _kind(name: str) -> str:
    words = {
        "hostile: chat template": name.startswith("template:"),
        "hostile: pipe, socket, device or folder as a file": name.split()[0] in ("pipe", "socket", "device", "folder"),
        "hostile: YAML": name.startswith("YAML"),
        "hostile: manifest": ".json" in name and "model's" not in name and "template" not in name,
        "hostile: pickle": "pickle" in name,
        "hostile: names that are no text": "surrogate" in name or "bytes in" in name,
    }
    return next((kind for kind, is_it in words.items() if is_it), "hostile: JSON")


def _command(arguments: list[object], folder: Path) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "g2is", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "COLUMNS": "1000", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        timeout=_TIMEOUT,
    )
    return done.returncode, done.stdout, done.stderr


if __name__ == "__main__":
    for line in run(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0):
        print(json.dumps(line))
