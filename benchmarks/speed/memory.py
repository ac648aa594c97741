"""Peak memory of extraction beside what it should be, for pools of 8 and of 32 shards and for LoRA r 16 and r 128.

    python benchmarks/speed/memory.py [--small] [--shared]

Each case is a process of its own, of which the peak (VmHWM) is read from the moment on at which model, adapter,
moments and projection are loaded. What it should be: what is held then, what a plain forward and backward of the same
batches takes (measured in another process), one module's per-example gradients for the batch of most examples, and the
shard's rows. A matrix of D x k or rows of the whole pool would show at once. All shards are the same rows, so
that a longer pool has the same batches; 8 of them, since what allocators keep grows for the first few. Writes
benchmarks/results/memory-NAME.json.

Goal (issue 5): no more than that (10 % for the allocator), growing with neither pool nor D x k.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.measure import BATCH_TOKENS, Figure, keep, peak, reset_peak, resident
from common.sample import floor, load, make_extractor, parser, store_gradients
from g2is.config import GammaForm
from g2is.model.batches import plan_batches
from g2is.model.parameters import trainable_parameters
from g2is.store.matrix import RowTable

MIB = 2**20
K = 8192
FORMS: list[GammaForm] = ["momentum-free", "less"]


def measure(what: str, shared: bool, rank: int, num_rows: int, times: int) -> dict[str, Any]:
    """In this process: bytes held before, and beyond that by `what` ("floor" or "extraction") of the rows `times` over.

    A shard is the rows once.
    """
    model, rows, moments = load(shared, rank, num_rows)
    sizes = {name: p.numel() for name, p in trainable_parameters(model).items()}
    extractor = make_extractor(model, moments, BATCH_TOKENS)
    keys = np.random.default_rng(0).integers(0, 256, (num_rows * times, 16), np.uint8)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what loading freed is no room to hide a peak in
    reset_peak()
    before = resident()
    if what == "floor":
        for _ in range(times):
            floor(model, rows, BATCH_TOKENS)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            store_gradients(extractor, rows, keys, FORMS, RowTable(Path(scratch) / "pool", "-", num_rows))
    most = max(len(batch) for batch in plan_batches(np.array([len(ids) for ids, _ in rows]), BATCH_TOKENS))
    return {
        "before": before,
        "beyond": peak() - before,
        "most_examples": most,
        "one_module": most * max(sizes.values()) * 4,
        # float32 sums and float16 unit rows of one shard; float16 rows of the one before, which is being written
        "row_block": num_rows * K * (4 + 2 + 2) * len(FORMS),
        "coordinates": sum(sizes.values()),
    }


def in_own_process(what: str, shared: bool, rank: int, num_rows: int, times: int) -> dict[str, Any]:
    case = json.dumps([what, shared, rank, num_rows, times])
    done = subprocess.run([sys.executable, __file__, "--case", case], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"case {case} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    command_line = parser(__doc__, "shards of 32 rows in place of 128")
    command_line.add_argument("--case", help=argparse.SUPPRESS)
    given = command_line.parse_args()
    if given.case:
        print(json.dumps(measure(*json.loads(given.case))))
        return
    num_rows = 32 if given.small or not given.shared else 128
    cases: dict[str, dict[str, Any]] = {}
    for rank, times in ((16, 8), (16, 32), (128, 8)):
        plain = in_own_process("floor", given.shared, rank, num_rows, 1)
        found = in_own_process("extraction", given.shared, rank, num_rows, times)
        expected = found["before"] + plain["beyond"] + found["one_module"] + found["row_block"]
        measured = found["before"] + found["beyond"]
        cases[f"r {rank}, {num_rows * times} rows"] = {
            "measured_mib": round(measured / MIB),
            "expected_mib": round(expected / MIB),
            "loaded_mib": round(found["before"] / MIB),
            "forward_and_backward_mib": round(plain["beyond"] / MIB),
            "one_module_mib": round(found["one_module"] / MIB, 1),
            "most_examples_in_a_batch": found["most_examples"],
            "row_block_mib": round(found["row_block"] / MIB),
            "beyond_loaded_mib": round(found["beyond"] / MIB),
            "dense_projection_mib": round(found["coordinates"] * K * 4 / MIB),
        }
    first, longer, wider = cases.values()
    name = "shared" if given.shared else "sample"
    figures = [
        Figure(
            f"peak memory, measured over expected, worst of {len(cases)} cases",
            max(round(case["measured_mib"] / case["expected_mib"], 3) for case in cases.values()),
            *(1.1, True, "x"),
            note=f"{first['measured_mib']} MiB where {first['expected_mib']} are expected",
        ),
        Figure(
            f"peak memory beyond loaded, {8 * num_rows} rows times 4",
            round(longer["beyond_loaded_mib"] / first["beyond_loaded_mib"], 3),
            *(1.1, True, "x"),
        ),
        Figure(
            "peak memory, r 128 less r 16, over a dense D x k of r 128",
            round((wider["beyond_loaded_mib"] - first["beyond_loaded_mib"]) / wider["dense_projection_mib"], 4),
            *(0.05, True, "x"),
            note=f"{wider['beyond_loaded_mib']} MiB at r 128, {first['beyond_loaded_mib']} at r 16",
        ),
    ]
    command = f"speed/memory.py{' --shared' if given.shared else ''}"
    keep(
        f"memory-{name}",
        given.small,
        command,
        figures,
        {"cases": cases, "batch_tokens": BATCH_TOKENS, "threads": torch.get_num_threads()},
    )


if __name__ == "__main__":
    main()
