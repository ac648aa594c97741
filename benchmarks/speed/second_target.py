"""A second target on a store that is full: reading its rows and selecting, by `design` and by `g2is`.

    python benchmarks/speed/second_target.py [--small] [--shared] [--work DIR]

Without --work a store of 37,026 rows of 8192 numbers, 64 of them a target's, is drawn (`synthetic.py`) and written
as `g2is select` writes one (0.6 GB in the temporary folder); what is timed is finding and reading the rows and choosing
1 % of them, as for any second target. That all else is only its own 64 rows is shown on a small real store: `g2is
select` with a second target runs no stage but those. With --work, the folder of a finished `main_job.py`, its real
store of 37,026 rows gets a second target under each method. Writes benchmarks/results/second_target-NAME.json. Goal
(issue 5): at most 15 s beyond extracting the target's rows.
"""

import argparse
import gzip
import itertools
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import g2is
from common.base6m import SETTINGS
from common.measure import Figure, alternate, extent, keep, median
from common.places import BASE6M, BUNDLED_MODEL, POOL, target_file
from common.synthetic import Clusters
from g2is.config import GammaForm, SelectionConfig
from g2is.demo.skills import write_pool
from g2is.gradients.rows import gradient_rows
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits
from g2is.selection.problem import TargetRows
from g2is.selection.similarity import UnitRows
from g2is.store.matrix import RowTable

NUM_ROWS, NUM_TARGETS, K = 37_026, 64, 8192
METHODS = ("design", "g2is")
FORM: GammaForm = "momentum-free"
CHECKPOINT = [("epoch-4", 1.0)]
EXTRACTING = "gradients of target"


def write_store(place: Path) -> tuple[np.ndarray, np.ndarray]:
    """A pool and a target as extraction stores them; the keys of both."""
    clusters, keys = Clusters(K), np.random.default_rng(0).integers(0, 256, (NUM_ROWS + NUM_TARGETS, 16), np.uint8)
    of_pool, of_target = keys[:NUM_ROWS], keys[NUM_ROWS:]
    clusters.store(RowTable(place / "pool", "-", 1024), of_pool, seed=0, prefix=f"epoch-4/{FORM}/")
    target = RowTable(place / "target", "-", NUM_TARGETS)
    clusters.store(target, of_target, seed=1000, of=6, prefix="epoch-4/sgd/")
    return of_pool, of_target


def read_and_select(
    place: Path, keys: tuple[np.ndarray, np.ndarray], method: str, times: dict[str, list[float]]
) -> None:
    """What `g2is select` does with a full store; seconds of its two parts are added to `times`."""
    begin = time.perf_counter()
    pool, target = RowTable(place / "pool", "-", 1024), RowTable(place / "target", "-", NUM_TARGETS)
    of_pool = gradient_rows(pool, pool.positions_of(keys[0]), CHECKPOINT, FORM).read()
    of_target = gradient_rows(target, target.positions_of(keys[1]), CHECKPOINT, "sgd").read()
    read = time.perf_counter()
    targets = {"target": TargetRows(NUM_ROWS // 100, rows=of_target.rows)}
    apply_selector(NUM_ROWS, UnitRows(of_pool.rows), targets, SelectionConfig(method=method), Limits())
    times.setdefault("read", []).append(read - begin)
    times.setdefault("select", []).append(time.perf_counter() - read)


def select(work: Path, out: str, **given: Any) -> dict[str, float]:
    """Seconds of each stage of a `g2is select` in this process, and of the whole call under `whole`."""
    begin = time.perf_counter()
    g2is.select(out=work / out, store=work / "store", **given)
    whole = time.perf_counter() - begin
    sitting = json.loads((work / out / "summary.json").read_text())["sittings"][-1]
    return {**sitting["seconds"], "whole": round(whole, 2)}


def small_real_store(shared: bool, work: Path) -> dict[str, dict[str, float]]:
    """Stages of a first and of a second target on one store of 256 real rows."""
    source, model = work / "sample.jsonl", BUNDLED_MODEL
    if shared:
        model = BASE6M
        with gzip.open(POOL, "rt", encoding="utf-8") as pool:
            source.write_text("".join(itertools.islice(pool, 1024)), encoding="utf-8")
    else:
        write_pool(source)
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    parts = {"pool": lines[:256], "first": lines[256:320], "second": lines[320:384]}
    for name, of_part in parts.items():
        (work / f"{name}.jsonl").write_text("".join(of_part), encoding="utf-8")
    warmup = {"lora": {"rank": 16}, "fraction": 0.25, "epochs": 1, "learning_rate": 1e-3}
    return {
        name: select(
            work,
            f"run-{name}",
            pool=work / "pool.jsonl",
            target=work / f"{name}.jsonl",
            model=model,
            budget=16,
            warmup=warmup,
            selection={"method": "design"},
        )
        for name in ("first", "second")
    }


def on_main_job(work: Path) -> dict[str, dict[str, float]]:
    """Stages of a target that `main_job.py` has not, under each method; the first of them extracts its rows."""
    lora = {"rank": int(SETTINGS["warmup.lora.rank"]), "alpha": float(SETTINGS["warmup.lora.alpha"])}
    warmup = {"lora": lora, "learning_rate": float(SETTINGS["warmup.learning_rate"])}
    return {
        method: select(
            work,
            f"second-{method}-{time.time_ns()}",
            pool=POOL,
            target=target_file("code_gpteacher", "dev"),
            model=BASE6M,
            warmup=warmup,
            gradients={"forms": ["less", "momentum-free"]},
            selection={"method": method},
        )
        for method in METHODS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="once in place of 5 times")
    parser.add_argument("--shared", action="store_true", help="the small real store is of base6m and the real pool")
    parser.add_argument("--work", type=Path, help="folder of a finished main_job.py: its store in place of a drawn one")
    given = parser.parse_args()
    details: dict[str, Any] = {"threads": torch.get_num_threads(), "rows": NUM_ROWS, "k": K}
    figures = []
    if given.work:
        details["stages"] = on_main_job(given.work.absolute())
        for method, stages in details["stages"].items():
            beyond = round(stages["whole"] - stages.get(EXTRACTING, 0.0), 2)
            what = f"second target on the main job's store, {method}"
            figures.append(Figure(what, beyond, 15, True, " s"))
        keep("second_target-main_job", False, "speed/second_target.py --work DIR", figures, details)
        return
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        details["small_real_store"] = small_real_store(given.shared, work)
        if "gradients of pool" in details["small_real_store"]["second"]:
            raise SystemExit(f"a second target computed the pool's gradients again: {details}")
        keys = write_store(work / "drawn")
        parts: dict[str, dict[str, list[float]]] = {method: {} for method in METHODS}
        works = [partial(read_and_select, work / "drawn", keys, method, parts[method]) for method in METHODS]
        times = dict(zip(METHODS, alternate(works, 1 if given.small else 5), strict=True))
    for method, of_method in times.items():
        what = f"second target, {NUM_ROWS:,} rows, 1 %, {method}"
        figures.append(Figure(what, median(of_method), 15, True, " s", extent(of_method)))
        details[method] = {part: median(values) for part, values in parts[method].items()}
    name = "shared" if given.shared else "sample"
    command = f"speed/second_target.py{' --shared' if given.shared else ''}"
    keep(f"second_target-{name}", given.small, command, figures, details)


if __name__ == "__main__":
    main()
