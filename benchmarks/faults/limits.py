"""Commands under limits of address space, open files and file size: one message each, nothing lost.

Values are drawn over the whole range from "nothing can start" to "no limit is felt", in processes of their own, so that
the import of torch meets them too.
"""

import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common.places import BUNDLED_MODEL
from g2is.demo.skills import write_pool, write_target

_SETTINGS = ["warmup.lora.rank=4", "warmup.fraction=0.3", "warmup.epochs=1", "gradients.projection.dim=512"]
_LIMITS = {
    "address space": (resource.RLIMIT_AS, 100 << 20, 8 << 30),
    "open files": (resource.RLIMIT_NOFILE, 7, 60),
    "file size": (resource.RLIMIT_FSIZE, 1, 4 << 20),
}
_SLOWEST = 180  # seconds


def run(budget_s: float, seed: int) -> list[dict[str, Any]]:
    """A row for each kind of limit: how many commands were tried under it, and how they ended."""
    draw = random.Random(seed)
    end = time.monotonic() + budget_s
    counts = {name: Counter[str]() for name in _LIMITS}
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        commands = _commands(folder)
        turn = 0
        while turn == 0 or time.monotonic() < end:
            name = list(_LIMITS)[turn % len(_LIMITS)]
            kind, least, most = _LIMITS[name]
            value = round(least * (most / least) ** draw.random())
            command = draw.choice(list(commands))
            outcome, said = _under_limit(folder, commands[command], kind, value)
            counts[name][outcome] += 1
            if outcome not in ("refused", "same"):
                notes.setdefault(name, f"{command} at {value}: {outcome}: {said}")
            turn += 1
    return [
        {"what": f"limit of {name}", "tried": of.total(), **of, **({"note": notes[name]} if name in notes else {})}
        for name, of in counts.items()
    ]


def _commands(folder: Path) -> dict[str, list[str]]:
    write_pool(folder / "pool.jsonl", num_rows=60)
    write_target(folder / "target.jsonl", num_rows=6)
    pool, target, model = str(folder / "pool.jsonl"), str(folder / "target.jsonl"), str(BUNDLED_MODEL)
    settings = [part for setting in _SETTINGS for part in ("--set", setting)]
    select = ["select", pool, target, "--model", model, "--budget", "10%", *settings]
    done = _g2is([*select, "--out", str(folder / "done")])
    if done.returncode:
        raise SystemExit(f"expected a small run to compare with, found: {done.stderr}")
    return {
        "inspect": ["inspect", pool, "--model", model],
        "select": [*select, "--out", "OUT"],
        "verify": ["verify", str(folder / "done")],
        "train": ["train", str(folder / "done"), "--out", "OUT", "--set", "tuning.lora.rank=4"],
        "evaluate": ["evaluate", target, "--model", model, "--out", "OUT", "--set", "evaluation.max_new_tokens=4"],
    }


def _under_limit(folder: Path, command: list[str], kind: int, value: int) -> tuple[str, str]:
    out = folder / "out"
    arguments = [str(out) if part == "OUT" else part for part in command]
    try:
        ended = _g2is(arguments, kind, value)
    except subprocess.TimeoutExpired:
        return "hung", f"no end after {_SLOWEST} s"
    finally:
        shutil.rmtree(out, ignore_errors=True)
    lines = ended.stderr.strip().splitlines() or [""]
    if "Traceback" in ended.stderr:
        return "traceback", lines[-1]
    if ended.returncode == 0:
        return "same", ""
    if ended.returncode == 2 and ended.stderr.count("error: ") == 1:
        return "refused", ""
    return ("abort" if ended.returncode < 0 else "other"), lines[-1]


def _g2is(arguments: list[str], kind: int | None = None, value: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "g2is", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_SLOWEST,
        check=False,
        preexec_fn=None if kind is None else lambda: resource.setrlimit(kind, (value, value)),
    )
