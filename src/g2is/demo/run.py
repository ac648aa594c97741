"""`g2is demo`: the whole job on the bundled sample and model, and what the selection is worth."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from g2is.config import Config, TuningConfig
from g2is.config.io import parse
from g2is.demo.comparison import Outcome, compare
from g2is.demo.skills import (
    POOL_FILE,
    SKILLS,
    TARGET_FILE,
    TARGET_SKILL,
    TEST_FILE,
    as_lines,
    sample_rows,
    write_sample,
)
from g2is.errors import StoreError
from g2is.examples.make_table import tokenize_files
from g2is.examples.sources import find_sources
from g2is.examples.table import ExampleTable
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.run_folder import Selection
from g2is.jobs.select import select
from g2is.jobs.test_rows import TestRows, read_test
from g2is.progress import Reporter, Silent
from g2is.store.lock import locked

BUDGET = "6%"
_RATE = 2e-3  # a model this small needs a far larger one than the defaults
_LORA = {"rank": 8, "alpha": 32}


@dataclass(frozen=True)
class Demo:
    """What the demo found: the selection, rows of the pool and of the selection by skill, and the comparison.

    `needed` are the skills that the target's own is made of.
    """

    selection: Selection
    pool_skills: Counter[str]
    selected_skills: Counter[str]
    needed: tuple[str, ...]
    outcomes: list[Outcome]


def run_demo(out: Path, reporter: Reporter) -> Demo:
    """Write the sample to `out`/sample, select from it, and compare what models tuned on it can do.

    Given again, the selection is not made anew. Raises StoreError if `out` cannot be written to or is in use, or other
    files lie where the demo writes.
    """
    with locked(out, "demo"):
        sample = out / "sample"
        _check_is_demo(out, sample)
        write_demo_sample(sample)
        config = demo_config(out)
        selection = select(config, reporter)
        skills = [json.loads(line)["task"] for line in (sample / POOL_FILE).open(encoding="utf-8")]
        prepared = prepare(config, reporter)
        pool, test = read_tables(prepared, out)
        tuning = demo_tuning()
        subsets = demo_subsets(selection.rows, len(pool), tuning.seed)
        outcomes = compare(prepared, pool, test, subsets, tuning, out / "tuned", reporter)
    return Demo(
        selection,
        Counter(skills),
        Counter(skills[row] for row in selection.rows),
        SKILLS[TARGET_SKILL].parts,
        outcomes,
    )


def _check_is_demo(out: Path, sample: Path) -> None:
    """Raise StoreError if something else than an earlier demo, which may have been stopped, lies where it writes."""
    is_begun = is_whole = sample.is_dir() or not sample.exists()
    for name, rows in sample_rows().items():
        place = sample / name
        found = place.read_text(encoding="utf-8", errors="replace") if place.is_file() else ""
        is_begun &= as_lines(rows).startswith(found) and (place.is_file() or not place.exists())
        is_whole &= as_lines(rows) == found
    later = [place for place in (sample / "model", out / "run", out / "tuned") if place.exists()]
    if not is_begun or (later and not is_whole):
        raise StoreError(
            f"{out}: expected a new folder, or that of an earlier demo, found other files in"
            f" {later[0] if is_begun else sample}, where it would write. Name another --out"
        )


def write_demo_sample(folder: Path) -> None:
    """Write the sample's pool, target, test rows and the bundled model to `folder`."""
    write_sample(folder)
    with as_file(files("g2is.demo") / "model") as model:
        shutil.copytree(model, folder / "model", dirs_exist_ok=True)


def read_tables(prepared: Prepared, out: Path) -> tuple[ExampleTable, TestRows]:
    """The sample's pool and test rows as tokens."""
    config, renderer, cache = prepared.config, prepared.renderer, prepared.config.store_folder / "examples"
    pool, test = (str(out / "sample" / name) for name in (POOL_FILE, TEST_FILE))
    table = tokenize_files(find_sources([pool]), renderer, config.examples, cache)
    return table, read_test([test], config.examples, renderer, prepared.tokenizer, cache, Silent())


def demo_config(out: Path) -> Config:
    """The settings of the demo's selection; the sample lies in `out`/sample."""
    sample = out / "sample"
    values: dict[str, Any] = {
        "pool": sample / POOL_FILE,
        "target": sample / TARGET_FILE,
        "out": out / "run",
        "store": out / "run/store",  # never that of G2IS_STORE, which is of another model
        "model": {"name": str(sample / "model")},
        "warmup": {"learning_rate": _RATE, "lora": _LORA},
        "selection": {"budget": BUDGET},
    }
    config: Config = parse(Config, values, "g2is demo")
    return config


def demo_subsets(selected: np.ndarray, num_rows: int, seed: int) -> dict[str, np.ndarray]:
    """What to tune on: the selection (n,), as many random rows of the pool's `num_rows`, and all."""
    return {
        "selection": selected,
        "random": np.random.default_rng(seed).choice(num_rows, len(selected), replace=False),
        "full pool": np.arange(num_rows),
    }


def demo_tuning(seed: int = 0) -> TuningConfig:
    """The settings of the demo's tuning."""
    values = {"lora": {**_LORA, "dropout": 0.0}, "epochs": 4, "learning_rate": 3e-3, "seed": seed}
    tuning: TuningConfig = parse(TuningConfig, {**values, "batch_size": 8}, "g2is demo")
    return tuning
