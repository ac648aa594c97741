"""What the engine ray costs over the local one: the same gradient rows by one worker of each, on one machine.

    python benchmarks/speed/scale_ray.py [--rows N] [--rounds N] [--out FILE]        (with g2is[ray])

Starts a cluster of one node here. A worker's start is told beside the time from the first shard on, for it is paid once
and does not grow. Each computes with one thread. Both engines' stores are compared byte for byte.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from g2is.cli.session import quiet_libraries
from g2is.config import Config
from g2is.config.io import parse
from g2is.demo.skills import write_pool, write_target
from g2is.jobs.select import run
from g2is.machine.environment import environment

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"


@contextmanager
def one_node() -> Iterator[str]:
    """The address of a cluster on this machine with a place for one worker."""
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20})
    try:
        yield str(cluster.address)
    finally:
        cluster.shutdown()


def measure(folder: Path, name: str, execution: dict[str, Any]) -> dict[str, float]:
    """Seconds of a run up to its gradients, and of a shard of the pool's between the first and the last."""
    values = {
        "pool": str(folder / "pool.jsonl"),
        "targets": {"target": str(folder / "target.jsonl")},
        "out": str(folder / name),
        "model": {"name": str(MODEL)},
        "warmup": {"fraction": 0.02, "epochs": 1, "learning_rate": 1e-3},
        "execution": {"device": "cpu", "shard_rows": 64, **execution},
    }
    config: Config = parse(Config, values, "a benchmark")
    begin = time.monotonic()
    run(config, "gradients")
    markers = sorted((folder / name / "store/gradients/pool/markers").glob("*.json"))
    times = sorted(path.stat().st_mtime for path in markers)
    return {
        "seconds": time.monotonic() - begin,
        "seconds_a_shard": (times[-1] - times[0]) / (len(times) - 1),
    }


def stored(store: Path) -> dict[str, bytes]:
    """Every file of a store but its lock."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def main() -> None:
    """Measure both engines in turns, and print or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2560, help="of the pool")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    quiet_libraries()
    found: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    with tempfile.TemporaryDirectory() as place, one_node() as address:
        folder = Path(place)
        write_pool(folder / "pool.jsonl", num_rows=given.rows)
        write_target(folder / "target.jsonl", num_rows=8)
        for turn in range(given.rounds):
            found["local"].append(measure(folder, f"local-{turn}", {}))
            found["ray"].append(measure(folder, f"ray-{turn}", {"engine": "ray", "address": address, "workers": 1}))
            assert stored(folder / f"local-{turn}/store") == stored(folder / f"ray-{turn}/store")
    best = {engine: min(of["seconds_a_shard"] for of in rounds) for engine, rounds in found.items()}
    result = {
        **environment(),
        "rows": given.rows,
        "rounds": found,
        "overhead": best["ray"] / best["local"] - 1,
        "same_bytes": True,
    }
    text = json.dumps(result, indent=1)
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
