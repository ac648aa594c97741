"""Settings of the small real run that the tests of this folder share."""

import json
from pathlib import Path
from typing import Any

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SMALL = {
    "warmup.learning_rate": "2e-3",
    "warmup.lora.rank": "4",
    "warmup.fraction": "0.3",
    "warmup.epochs": "1",
    "gradients.projection.dim": "512",
    "execution.shard_rows": "64",
    "execution.report": "false",  # its own tests ask for it
}


def set_flags(settings: dict[str, str]) -> list[str]:
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def select_small(sample: Path, out: Path, **more: Any) -> Path:
    """The folder `out` of a finished `select` with such settings, and `more`; its store in RUN/store."""
    from g2is.api import select

    select(
        pool=sample / "pool.jsonl",
        target=sample / "target.jsonl",
        model=MODEL,
        out=out,
        budget="10%",
        warmup={"learning_rate": 2e-3, "lora": {"rank": 4}, "fraction": 0.3, "epochs": 1},
        gradients={"projection": {"dim": 512}},
        **more,
    )
    return out


def selected_ids(run: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (run / "selected.jsonl").read_text().splitlines()]
