"""One selection, computed in other ways: other batches, shards, threads, and the instructions of other processors.

Each way is a process of its own that selects from the demo's rows, warm-up included, by several methods on one store.
No other processor is at hand: libraries are told by their own switches to use the instructions of an older one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_METHODS = ("design", "g2is", "less", "rds+", "bm25")
_PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np, pyarrow.parquet as pq, torch
from g2is.api import select
folder, model, execution, methods = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
torch.set_num_threads(int(sys.argv[5]))
found = {}
for method in methods:
    out = folder / method.strip("+")
    select(
        pool=folder.parent / "pool.jsonl", target=folder.parent / "target.jsonl", model=model, out=out,
        store=folder / "store", budget=20, selection={"method": method}, execution=execution,
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
    )
    scores = pq.read_table(out / "scores.parquet")
    columns = [name for name in scores.column_names if name.startswith("similarity")]
    found[method] = {
        "rows": pq.read_table(out / "selection.parquet").column("row").to_pylist(),
        "scores": {name: scores[name].to_pylist() for name in columns},
    }
print("FOUND" + json.dumps(found))
"""


class Way(NamedTuple):
    """A way to compute a selection: settings of `execution`, threads, and variables of the environment."""

    name: str
    execution: Mapping[str, int] = {}
    threads: int = 1
    environment: Mapping[str, str] = {}


BASE = Way("the usual way", {"batch_tokens": 2048, "shard_rows": 64})
WAYS = (
    Way("again", BASE.execution),
    Way("batches of one row", {"batch_tokens": 1, "shard_rows": 64}),
    Way("batches of 512 tokens", {"batch_tokens": 512, "shard_rows": 64}),
    Way("shards of 7 rows", {"batch_tokens": 2048, "shard_rows": 7}),
    Way("one shard", {"batch_tokens": 2048, "shard_rows": 4096}),
    Way("two threads", BASE.execution, threads=2),
    Way("instructions of x86-64 alone", BASE.execution, 1, {"ATEN_CPU_CAPABILITY": "default"}),
    Way("ATen's AVX2", BASE.execution, 1, {"ATEN_CPU_CAPABILITY": "avx2"}),
    Way("oneDNN's SSE4.1", BASE.execution, 1, {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Way("MKL's AVX2", BASE.execution, 1, {"MKL_CBWR": "AVX2"}),
    Way("MKL's oldest", BASE.execution, 1, {"MKL_CBWR": "COMPATIBLE"}),
    Way(
        "an old processor in all three libraries",
        BASE.execution,
        1,
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    ),
)


def run(budget_s: float, seed: int) -> list[dict[str, Any]]:
    """A row of the table for each way that there is time for: selections equal to the usual way's, else the overlap."""
    begin, rows, longest = time.monotonic(), list[dict[str, Any]](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), seed)
        usual = selections(Path(folder), BASE)
        for way in WAYS:
            longest = max(longest, (time.monotonic() - begin) / (len(rows) + 1))
            if time.monotonic() - begin + 1.5 * longest > budget_s:
                rows.append({"what": f"selection computed with {way.name}", "tried": 0, "note": "no time was left"})
                continue
            rows.append(
                {"what": f"selection computed with {way.name}", **compared(usual, selections(Path(folder), way))}
            )
    return rows


def write_rows(folder: Path, seed: int) -> None:
    """Pool and target of the demo, `pool.jsonl` and `target.jsonl`."""
    from g2is.demo.skills import write_pool, write_target

    write_pool(folder / "pool.jsonl", num_rows=150, seed=seed)
    write_target(folder / "target.jsonl", num_rows=8, seed=seed)


def selections(folder: Path, way: Way, methods: tuple[str, ...] = _METHODS) -> dict[str, Any]:
    """Selected rows and scores by method, of rows in `folder`; in a process of its own."""
    root = Path(__file__).resolve().parents[2]
    out = Path(tempfile.mkdtemp(dir=folder))
    environment = {**os.environ, "OMP_NUM_THREADS": str(way.threads), **way.environment}
    environment["PYTHONPATH"] = os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])
    arguments = [out, root / "src/g2is/demo/model", json.dumps(way.execution), json.dumps(methods), way.threads]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{way.name}: {done.stderr[-2000:]}")
    return dict(json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))[5:]))


def compared(usual: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """How many selections are the same rows in the same order, and of the others how many rows are shared."""
    notes = []
    for method, found in other.items():
        expected = usual[method]
        if found["rows"] == expected["rows"]:
            continue
        shared = len(set(found["rows"]) & set(expected["rows"]))
        order = " in another order" if shared == len(expected["rows"]) else ""
        notes.append(f"{method}: {shared} of {len(expected['rows'])} rows{order}, {_apart(expected, found)}")
    row: dict[str, Any] = {"tried": len(other), "same": len(other) - len(notes), "other": len(notes)}
    if notes:
        row["note"] = "; ".join(notes)
    return row


def _apart(expected: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The cause: by how much the scores differ that the selections are made of."""
    pairs = [
        abs(one - another)
        for name in expected["scores"]
        for one, another in zip(expected["scores"][name], found["scores"][name], strict=True)
        if one is not None and another is not None
    ]
    return f"scores up to {max(pairs, default=0.0):.1e} apart (float32 sums in another order, float16 rows)"
