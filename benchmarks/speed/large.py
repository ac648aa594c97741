"""Large pools on one machine: seconds and peak memory of `g2is`, `design` and `less` from a store of drawn rows.

    python benchmarks/speed/large.py [--small] [--sizes long wide] [--ways all candidates int8 sign] [--folder DIR]

`long` is 1,000,000 rows of 1024 numbers, `wide` 200,000 of 8192 (an hundredth and a fiftieth with --small); 1 % is
selected for 64 target rows. Each way is a process of its own, so that its peak memory is its own. `all` looks at all
rows, as stored in float16; `candidates` at the ten times the budget nearest to the target; `int8` and `sign` at all
rows of a store in that form. Goal (issue 26): 24 GB of memory. Writes benchmarks/results/large.json after every way
and keeps what it held of others, so that it may be run in parts. DIR takes 3.3 GB for `long`, 5.3 for `wide`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common.measure import Figure, keep, peak, result_path
from common.synthetic import Clusters
from g2is.config import SelectionConfig
from g2is.gradients.rows import stored_as
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits
from g2is.selection.nearest import Nearest
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows
from g2is.store.matrix import RowTable, Shard
from g2is.store.row_reader import RowReader
from g2is.store.rows import UnitVectors

SIZES = {"long": (1_000_000, 1024), "wide": (200_000, 8192)}
SMALLER = {"long": 100, "wide": 50}
METHODS = ("design", "g2is", "less")
WAYS = ("all", "candidates", "int8", "sign")
NUM_TARGETS, OF_CLUSTERS = 64, 6
TIMES_THE_BUDGET = 10
SHARD_ROWS = 4096
GOAL_GB = 24


def write_store(folder: Path, num_rows: int, k: int, storage: str) -> RowTable:
    """The table of drawn rows in `folder`, made if it is not there."""
    table = RowTable(folder / f"{num_rows}x{k}-{storage}", storage, SHARD_ROWS)
    clusters, stored = Clusters(k), len(table.positions())
    for number, low in enumerate(range(0, num_rows, SHARD_ROWS)):
        if low < stored:
            continue
        rows = clusters.rows(min(SHARD_ROWS, num_rows - low), seed=1000 + number)
        keys = np.zeros((len(rows), 16), np.uint8)
        keys[:, :8] = np.arange(low, low + len(rows)).view(np.uint8).reshape(-1, 8)
        vectors = UnitVectors(rows, np.ones(len(rows), np.float32))
        table.write(number, stored_as(Shard(keys, vectors.arrays("epoch-1/less/")), storage))  # type: ignore[arg-type]
    return table


def select(table: RowTable, num_rows: int, k: int, method: str, way: str) -> dict[str, float]:
    """Read the rows as `g2is select` does, and choose; seconds of each, and the process's peak memory."""
    targets = Clusters(k).rows(NUM_TARGETS, seed=2, of=OF_CLUSTERS)
    budget, before = num_rows // 100, time.perf_counter()
    reader = RowReader(table, np.arange(num_rows), [("epoch-1/less/", 1.0)])
    places = None
    if way == "candidates":
        nearest = Nearest(num_rows, {"t": targets})
        for at, block in reader.blocks():
            nearest.look(at, UnitRows(block, quantise=False, usable=reader.usable[at]))
        places = nearest.rows(TIMES_THE_BUDGET * budget)
    held = reader.read(places)
    rows = UnitRows(held.rows, usable=held.held_usable, coarse=method == "g2is")
    read = time.perf_counter()
    of_target = {"t": TargetRows(budget, rows=targets)}
    selected = apply_selector(num_rows, rows, of_target, SelectionConfig(method=method), Limits(), places=places)
    assert len(selected.record.steps) == budget
    chosen = time.perf_counter()
    return {"read": round(read - before, 1), "choose": round(chosen - read, 1), "peak_gb": round(peak() / 1e9, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="10,000 rows of 1024 numbers, 4,000 of 8192")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--folder", type=Path, help="where stores are made and left; default: temporary ones")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # SIZE METHOD WAY, in a process of its own
    given = parser.parse_args()
    shapes = {name: (num_rows // (SMALLER[name] if given.small else 1), k) for name, (num_rows, k) in SIZES.items()}
    if given.one:
        size, method, way = given.one.split()
        table = write_store(given.folder, *shapes[size], way if way in ("int8", "sign") else "float16")
        print(json.dumps(select(table, *shapes[size], method, way)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        for size in given.sizes:
            for way in given.ways:
                write_store(folder, *shapes[size], way if way in ("int8", "sign") else "float16")
                for method in given.methods:
                    if (method, way) == ("less", "candidates"):
                        continue  # which reads the pool once anyway
                    note(
                        f"{size} {method} {way}", measured(f"{size} {method} {way}", folder, given.small), shapes, given
                    )


def measured(name: str, folder: Path, small: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder), *(["--small"] if small else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(name, found, flush=True)
    return found


def note(name: str, found: dict[str, float], shapes: dict[str, tuple[int, int]], given: argparse.Namespace) -> None:
    """Add what was `found` to the result, which keeps what it held of others."""
    place = result_path("large", given.small)
    ways = json.loads(place.read_text())["ways"] if place.exists() else {}
    ways[name] = found
    figures = []
    for way, of_way in sorted(ways.items()):
        size, method, how = way.split()
        what = f"{method}, {shapes[size][0]:,} rows of {shapes[size][1]}, 1 %, {how}"
        figures.append(Figure(f"{what}: reading and choosing", of_way["read"] + of_way["choose"], None, True, " s"))
        figures.append(Figure(f"{what}: peak memory", of_way["peak_gb"], GOAL_GB, True, " GB"))
    keep("large", given.small, "speed/large.py", figures, {"ways": ways})


if __name__ == "__main__":
    main()
