"""Model folders of strangers, by `g2is select`: what each lets happen. A row of the table of `make faults`.

The folders are those of `tests/faults/hostile_models.py`. Each command runs in a process of its own, forked from one
that has imported everything, under a limit of time; its memory is measured, and an audit hook tells of every word to
the network.
"""

import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 30  # of memory beyond what was there when everything had been imported
SECONDS = 60  # of processor time
_SETTINGS = ("warmup.lora.rank=4", "warmup.fraction=0.2", "warmup.epochs=1", "gradients.projection.dim=64")
_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname")


def run(budget_s: float, seed: int) -> list[dict[str, Any]]:
    """One row: model folders tried within `budget_s` seconds, in an order drawn by `seed`, and what came of them."""
    import hostile_models

    _import()
    outcomes: Counter[str] = Counter()
    failed: list[str] = []
    cases, begin = list(hostile_models.MODELS), time.monotonic()
    random.Random(seed).shuffle(cases)
    with tempfile.TemporaryDirectory() as place:
        for number, (name, spoil) in enumerate(cases):
            if number and time.monotonic() - begin > budget_s:
                break
            folder = hostile_models.make(Path(place) / str(number) / "model", spoil)
            outcome = attempt(folder, harmless=name in hostile_models.HARMLESS)
            outcomes[outcome] += 1
            if outcome not in ("refused", "same"):
                failed.append(f"{name}: {outcome}")
            shutil.rmtree(folder.parent)
    counts = {name: outcomes[name] for name in ("refused", "same", "undetected", "traceback")}
    others = {name: number for name, number in outcomes.items() if name not in counts}
    note = {"note": "; ".join(failed)} if failed else {}
    return [{"what": "hostile model folders", "tried": sum(outcomes.values()), **counts, **others, **note}]


def attempt(model: Path, *, harmless: bool) -> str:
    """What `g2is select` makes of the folder `model`, beside which it works.

    "refused" in one message; "same" for a harmless one that selects; else "undetected", "traceback", "two messages",
    "network", "ran code", "memory", "time" or "died".
    """
    here, errors = model.parent, model.parent / "errors"
    pid = os.fork()
    if not pid:
        os._exit(_command(model, errors))
    _, status, used = os.wait4(pid, 0)
    said = errors.read_text(encoding="utf-8", errors="replace")
    code = os.waitstatus_to_exitcode(status)
    if (here / "ran").exists():
        return "ran code"
    if (here / "network").exists():
        return "network"
    if used.ru_utime + used.ru_stime >= SECONDS:
        return "time"
    if used.ru_maxrss * 1024 > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + MOST_BYTES:
        return "memory"
    if "Traceback" in said:
        return "traceback"
    if code < 0:
        return "died"
    if code == 0:
        return "same" if harmless else "undetected"
    if code != 2 or len(re.findall(r"^error: ", said, re.MULTILINE)) != 1:
        return "two messages"
    return "undetected" if harmless else "refused"  # a harmless one that is refused is wrong too


def _import() -> None:
    """What every command would import: once, before the first fork."""
    import peft  # noqa: F401
    import transformers.models.llama.modeling_llama
    import transformers.trainer  # noqa: F401

    import g2is.__main__
    import g2is.engine.local
    import g2is.jobs.select  # noqa: F401


def _command(model: Path, errors: Path) -> int:
    """Run the command in this process, which ends with what this returns."""
    from g2is.__main__ import main
    from g2is.demo.skills import write_pool, write_target

    here = model.parent
    with errors.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    write_pool(here / "pool.jsonl", num_rows=40)
    write_target(here / "target.jsonl", num_rows=4)
    sys.addaudithook(lambda event, arguments: (here / "network").touch() if event in _NETWORK else None)
    settings = [part for setting in _SETTINGS for part in ("--set", setting)]
    files = [str(here / "pool.jsonl"), str(here / "target.jsonl"), "--model", str(model), "--out", str(here / "run")]
    sys.argv = ["g2is", "select", *files, "--budget", "10%", *settings]
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    print(*run(600.0, 0), sep="\n")
