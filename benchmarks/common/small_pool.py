"""Comparisons on 10,000 rows of the real pool, four targets and base6m: the measurements of method.md, again."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

import g2is
from common import base6m
from common.places import BASE6M, POOL, target_file

TARGETS = ("gsm8k", "simplification_asset", "pubmedqa", "code_gpteacher")
FORMS = ("less", "momentum-free")
NUM_ROWS = 10_000


def draw(work: Path) -> Path:
    """A pool of NUM_ROWS rows of the shared one, drawn with seed 0."""
    place = work / "pool.jsonl"
    if not place.exists():
        with gzip.open(POOL, "rt", encoding="utf-8") as file:
            lines = file.readlines()
        rows = np.sort(np.random.default_rng(0).choice(len(lines), NUM_ROWS, replace=False))
        place.write_text("".join(lines[row] for row in rows), encoding="utf-8")
    return place


def compare(work: Path, out: str, methods: dict[str, dict[str, object]], seeds: int, **warmup: object) -> Path:
    """Compare `methods` on the small pool, and return the folder of the comparison."""
    work.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "warmup": {**base6m.WARMUP, **warmup},
        "gradients": {"forms": list(FORMS), "projection": {"dim": 4096}},
    }
    g2is.compare(
        pool=draw(work),
        target={name: target_file(name, "dev") for name in TARGETS},
        test={name: target_file(name, "test") for name in TARGETS},
        model=BASE6M,
        out=work / out,
        methods=methods,
        budgets=["1%"],
        num_seeds=seeds,
        **settings,
        tuning=base6m.TUNING,
        evaluation={"generate": False},
        execution=base6m.EXECUTION,
    )
    return work / out
