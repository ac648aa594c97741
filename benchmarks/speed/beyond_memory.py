"""Selecting from a store whose rows exceed memory: screened in an 8-bit copy, and read from the file for every pass.

    mkdir /sys/fs/cgroup/memory/small && echo 2600M > /sys/fs/cgroup/memory/small/memory.limit_in_bytes  # as root
    sh -c 'echo $$ > /sys/fs/cgroup/memory/small/cgroup.procs; exec python benchmarks/speed/beyond_memory.py'
    systemd-run --scope -p MemoryMax=2600M python benchmarks/speed/beyond_memory.py  # the same where there is systemd

A store of 200,000 rows of 8192 numbers (3.1 GiB; `synthetic.py`) is written to the temporary folder, read as `g2is
select` reads it, and 200 rows are selected, under a limit on memory that the rows exceed and the copy does not: by the
walk in both ways, which select the same rows or the benchmark fails, and by `design`, which always reads the file.
Writes benchmarks/results/beyond_memory.json. The issue that asked for the copy (5) sets it no goal.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from common.measure import GIB, Figure, extent, keep, median, peak, ratio
from common.synthetic import Clusters
from g2is.config import SelectionConfig
from g2is.machine.memory import available_memory, fits_in_memory
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows
from g2is.store.matrix import RowTable
from g2is.store.row_reader import RowReader

NUM_ROWS, K, BUDGET = 200_000, 8192, 200
NUM_TARGETS, OF_CLUSTERS = 64, 6
SHARD_ROWS = 1024
TIMES = 3


def select(rows: UnitRows, targets: np.ndarray, method: str) -> list[int]:
    settings = SelectionConfig(method=method)
    selected = apply_selector(NUM_ROWS, rows, {"target": TargetRows(BUDGET, rows=targets)}, settings, Limits())
    return [step.row for step in selected.record.steps]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    room, num_bytes = available_memory(), 2 * NUM_ROWS * K
    if fits_in_memory(num_bytes) or not fits_in_memory(num_bytes // 2):
        sys.exit(
            f"expected memory for half of {num_bytes / GIB:.1f} GiB and not for all, found {room / GIB:.1f} GiB: set a"
            " limit as the head of this file says"
        )
    clusters = Clusters(K)
    targets = clusters.rows(NUM_TARGETS, seed=2, of=OF_CLUSTERS)
    with tempfile.TemporaryDirectory() as scratch:
        table = RowTable(Path(scratch) / "store", "-", SHARD_ROWS)
        clusters.store(table, np.zeros((NUM_ROWS, 16), np.uint8), seed=1000)
        begin = time.perf_counter()
        found = RowReader(table, np.arange(NUM_ROWS)).read()
        reading = time.perf_counter() - begin
        times: dict[str, list[float]] = {}
        picked: dict[str, list[list[int]]] = {}
        for _ in range(TIMES):
            for method, quantise in (("g2is", True), ("g2is", False), ("design", False)):
                begin = time.perf_counter()
                rows = UnitRows(found.rows, quantise=quantise)
                picked.setdefault(method, []).append(select(rows, targets, method))
                name = f"{method}, {'8-bit copy' if quantise else 'file'}"
                times.setdefault(name, []).append(time.perf_counter() - begin)
                print(f"{name}: {times[name][-1]:.1f} s", flush=True)
    if any(others != of_method[0] for of_method in picked.values() for others in of_method):
        sys.exit("other rows are selected with an 8-bit copy than without")
    copied, read, design = times.values()
    what = f"{BUDGET} of {NUM_ROWS:,} rows that exceed memory"
    over_copy, spread = ratio(read, copied)
    figures = [
        Figure(f"g2is, {what}: from the file, over an 8-bit copy", over_copy, None, False, "x", spread, "same rows"),
        Figure(f"g2is, {what}: with an 8-bit copy", median(copied), None, True, " s", extent(copied)),
        Figure(f"design, {what}: from the file", median(design), None, True, " s", extent(design)),
    ]
    details = {
        "matrix_gib": round(num_bytes / GIB, 2),
        "memory_gib": round(room / GIB, 2),
        "peak_gib": round(peak() / GIB, 2),  # of the map as well, as far as it was in memory
        "threads": torch.get_num_threads(),
        "seconds_reading_the_store": round(reading, 1),
        "seconds": {name: [round(value, 1) for value in values] for name, values in times.items()},
    }
    keep("beyond_memory", False, "speed/beyond_memory.py", figures, details)


if __name__ == "__main__":
    main()
