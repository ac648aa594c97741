"""Tokens a second of one and two workers, each with one thread, and what the engine of processes costs over none.

    OMP_NUM_THREADS=1 python benchmarks/speed/scale.py [--rows 2500] [--times 3] [--small]

Gradients of a generated pool under the bundled model, by the engines as `g2is select` uses them: in this process, in
one worker process, in two. Each engine makes the targets' rows first, so that its workers have begun; then the pool's
are timed, each engine `--times` times in turn. Writes benchmarks/results/scale.json (--small: scale-small.json). Goals
(issue 26): two workers on two cores at least 1.7 times one; the process engine at most 5 % over this process. On a
machine where others compute, the figures say nothing.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

import g2is.demo
from common.measure import Figure, keep, median
from g2is.config import Config
from g2is.config.io import parse
from g2is.demo.skills import write_pool, write_target
from g2is.engine.job import Engine
from g2is.engine.local import LocalEngine
from g2is.engine.processes import ProcessEngine, open_processes
from g2is.engine.wanted import WantedRows
from g2is.gradients.extract import load_extractor
from g2is.jobs.gradient_rows import gradient_work, wanted_gradients
from g2is.jobs.prepare import prepare
from g2is.jobs.select import run
from g2is.jobs.worker import open_worker, read_as_planned
from g2is.progress import Silent
from g2is.store.manifest import join_store
from g2is.warmup.train import finished_warmup

MODEL = Path(g2is.demo.__file__).parent / "model"
ENGINES = {"this process": 0, "1 worker": 1, "2 workers": 2}
EngineOf = Callable[[WantedRows], Engine]


def main() -> None:
    command_line = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    command_line.add_argument("--rows", type=int, default=2500)
    command_line.add_argument("--times", type=int, default=3)
    command_line.add_argument("--small", action="store_true", help="400 rows, once")
    given = command_line.parse_args()
    num_rows, times = (400, 1) if given.small else (given.rows, given.times)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_pool(folder / "pool.jsonl", num_rows=num_rows)
        write_target(folder / "target.jsonl", num_rows=40)
        run(configuration(folder, "planned"), "plan")
        rates: dict[str, list[float]] = {name: [] for name in ENGINES}
        for _ in range(times):
            for name, num_workers in ENGINES.items():
                rates[name].append(rate(folder, num_workers))
                print(f"{name}: {rates[name][-1]:.0f} tokens/s", flush=True)
    middle = {name: median(of_engine) for name, of_engine in rates.items()}
    figures = [
        Figure("2 workers over 1 worker", middle["2 workers"] / middle["1 worker"], 1.7, at_most=False, unit="x"),
        Figure(
            "1 worker process over this process",
            100 * (middle["this process"] / middle["1 worker"] - 1),
            5.0,
            at_most=True,
            unit=" %",
        ),
    ]
    keep("scale", given.small, "speed/scale.py", figures, {"tokens_a_second": rates, "rows": num_rows})


def configuration(folder: Path, store: str) -> Config:
    values = {
        "pool": folder / "pool.jsonl",
        "targets": {"target": folder / "target.jsonl"},
        "out": folder / f"{store}-run",
        "store": folder / store,
        "model": {"name": str(MODEL)},
        "warmup": {"fraction": 0.02, "epochs": 1, "learning_rate": 2e-3, "lora": {"rank": 8}},
        "gradients": {"projection": {"dim": 1024}},
        "execution": {"shard_rows": 100, "device": "cpu"},
    }
    config: Config = parse(Config, values, "a benchmark")
    return config


def rate(folder: Path, num_workers: int) -> float:
    """Tokens a second of the pool's shards, all of which are missing; `num_workers` 0 is this process."""
    store = folder / "trial"
    shutil.copytree(folder / "planned", store)
    config = configuration(folder, "trial")
    prepared = prepare(config, Silent())
    examples = read_as_planned(prepared)
    assert examples is not None
    checkpoints = finished_warmup(store / "warmup") or []
    target, pool = wanted_gradients(config, join_store(store, prepared.fingerprint), examples, checkpoints)

    @contextmanager
    def here() -> Iterator[EngineOf]:
        folders: Mapping[str, Path] = {checkpoint.name: checkpoint.folder for checkpoint in checkpoints}
        extractor = load_extractor(
            prepared.model, folders, config.gradients.projection, config.execution, lambda _: None
        )
        yield lambda wanted: LocalEngine(wanted, gradient_work(extractor, wanted, lambda _: None))

    @contextmanager
    def beside() -> Iterator[EngineOf]:
        opens = partial(open_worker, config.model_dump_json(), "cpu", 1)
        environment = {"OMP_NUM_THREADS": "1"}
        with open_processes([(opens, environment)] * num_workers, print) as processes:
            yield lambda _: ProcessEngine(processes, lambda _: None)

    with (beside if num_workers else here)() as engine_of:
        target.make(target.planned(print) or [], engine_of(target))
        time.sleep(5.0 if num_workers > 1 else 0.0)  # for the one that the target's shard was not dealt to
        planned = pool.planned(print) or []
        begin = time.perf_counter()
        pool.make(planned, engine_of(pool))
        seconds = time.perf_counter() - begin
    shutil.rmtree(store)
    return pool.num_tokens(planned) * len(checkpoints) / seconds


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
