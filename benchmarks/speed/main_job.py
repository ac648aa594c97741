"""The main job on real input: killed once in the middle of extraction, resumed, then a second target on the same store.

    python benchmarks/speed/main_job.py --work DIR

Needs ../shared (the pool of 37,026 rows, targets, and the model base6m). About an hour on 2 cores; given the same DIR
again, it goes on from where it was. Writes benchmarks/results/main_job.json: seconds by stage, peak memory, and the
share of each selection that is math (GSM8K: 20 % of the pool is).
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from common import base6m
from common.places import BASE6M, POOL, RESULTS, target_file
from g2is.machine.environment import environment

RESULT = RESULTS / "main_job.json"
SETTINGS = base6m.SETTINGS | {"selection.method": "g2is", "selection.form": "less"}
KILL_AFTER_SHARDS = 15


def command(work: Path, target: str, out: str, extra: dict[str, str] | None = None) -> list[str]:
    settings = [part for key, value in (SETTINGS | (extra or {})).items() for part in ("--set", f"{key}={value}")]
    return [
        *(sys.executable, "-m", "g2is", "select"),
        *(str(POOL), str(target_file(target, "dev"))),
        *("--model", str(BASE6M), "--budget", "1%"),
        *("--out", str(work / out), "--store", str(work / "store"), *settings),
    ]


def run(arguments: list[str], log: Path, kill_after_shards: Path | None = None) -> dict[str, float | bool | None]:
    """Run to the end, or kill -9 once the folder of markers holds enough; wall seconds and peak resident memory."""
    begin, peak = time.monotonic(), 0
    with log.open("a") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output)
        while process.poll() is None:
            time.sleep(0.5)
            status = Path(f"/proc/{process.pid}/status")
            if status.exists():
                peak = max(
                    [peak, *(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)]
                )
            if kill_after_shards is not None:
                num_shards = len(list(kill_after_shards.glob("*.json")))
                if num_shards >= KILL_AFTER_SHARDS:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
    if kill_after_shards is None and process.returncode != 0:
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}: see {log}")
    killed = process.returncode == -signal.SIGKILL
    return {"seconds": round(time.monotonic() - begin, 1), "peak_memory_gib": round(peak / 2**20, 2), "killed": killed}


def made_of(folder: Path) -> dict[str, object]:
    """What a selection is made of."""
    rows = [json.loads(line) for line in (folder / "selected.jsonl").read_text().splitlines()]
    walk = json.loads((folder / "walk.json").read_text())
    return {
        "rows": len(rows),
        "math_share": round(sum(row["source"] == "gsm8k" for row in rows) / len(rows), 3),
        "categories": dict(Counter(row["category"] for row in rows).most_common(6)),
        "components": len(walk["components"]),
        "refused_for_conflict": walk["conflict_refused_fraction"],
        "duplicates_skipped": walk["num_duplicates"],
        "refills": sum(part["num_refills"] for part in walk["components"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for store and runs (2 GB)")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    log = work / "log.txt"
    sittings = work / "sittings.json"
    done = json.loads(sittings.read_text()) if sittings.exists() else {}
    for name, arguments, markers in (
        ("gsm8k, killed", command(work, "gsm8k", "gsm8k"), work / "store/gradients/pool/markers"),
        ("gsm8k, resumed", command(work, "gsm8k", "gsm8k"), None),
        ("pubmedqa, same store", command(work, "pubmedqa", "pubmedqa"), None),
        ("gsm8k, official", command(work, "gsm8k", "gsm8k-official", {"selection.method": "official"}), None),
        ("gsm8k, momentum-free", command(work, "gsm8k", "gsm8k-free", {"selection.form": "momentum-free"}), None),
        (
            "pubmedqa, momentum-free",
            command(work, "pubmedqa", "pubmedqa-free", {"selection.form": "momentum-free"}),
            None,
        ),
    ):
        if name not in done:
            print(name, flush=True)
            done[name] = run(arguments, log, markers)
            sittings.write_text(json.dumps(done, indent=1))
    runs = {}
    for out in ("gsm8k", "pubmedqa", "gsm8k-official", "gsm8k-free", "pubmedqa-free"):
        summary = json.loads((work / out / "summary.json").read_text())
        runs[out] = {"sittings": summary["sittings"], **made_of(work / out)}
    result = {
        "command": "python benchmarks/speed/main_job.py",
        "settings": SETTINGS,
        "machine": environment(),
        "pool": json.loads((work / "gsm8k/summary.json").read_text())["pool"],
        "killed_after_shards": KILL_AFTER_SHARDS,
        "sittings": done,
        "runs": runs,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
