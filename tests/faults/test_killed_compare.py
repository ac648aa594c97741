"""kill -9 at any moment of a comparison, the same command again: every cell as undisturbed, none made twice."""

from collections.abc import Callable
from pathlib import Path

import forked
import numpy as np
import pytest

from g2is.comparison.cells import Cell, read_cell
from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = [
    *("warmup.learning_rate=2e-3", "warmup.lora.rank=4", "warmup.fraction=0.3", "warmup.epochs=1"),
    *("gradients.projection.dim=512", "execution.shard_rows=32", "execution.resume_steps=1"),
    *("tuning.learning_rate=2e-3", "tuning.lora.rank=4", "tuning.epochs=2", "tuning.batch_size=8"),
    "evaluation.generate=false",
]


def command(folder: Path, out: str) -> list[str]:
    files = [folder / "pool.jsonl", folder / "target.jsonl", "--test", folder / "test.jsonl"]
    flags = ["--methods", "less-rr,bm25", "--budgets", "20%", "--seeds", "1"]
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return [str(part) for part in ["compare", *files, "--model", MODEL, "--out", folder / out, *flags, *settings]]


def cells_of(out: Path) -> dict[str, Cell]:
    return {str(path.relative_to(out)): read_cell(path) for path in sorted(out.glob("cells/**/*.json"))}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_at_every_stage_and_resumed_its_cells_are_those_of_an_undisturbed_one(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=120)
    write_target(tmp_path / "target.jsonl", num_rows=8)
    write_target(tmp_path / "test.jsonl", num_rows=12, seed=5)
    forked.run(command(tmp_path, "calm"), tmp_path / "errors")
    out = tmp_path / "out"

    def exists(pattern: str) -> Callable[[], bool]:
        return lambda: any(out.glob(pattern))

    moments = {
        "rows are read": exists("examples/*"),
        "random rows are tuned on": exists("tuned/*/trainer/checkpoint-2/complete"),
        "random rows are tested": exists("tuned/*/target.parquet"),
        "the first cell is there": exists("cells/random/**/*.json"),
        "gradients are stored": exists("store/seed-0/gradients/pool/markers/000001.json"),
        "rows are selected": exists("selections/less-rr/**/selection.parquet"),
        "two cells are there": lambda: len(list(out.glob("cells/**/*.json"))) >= 3,
    }
    killed: list[str] = []
    made: dict[Path, int] = {}
    for name, moment in moments.items():
        if forked.run_until(command(tmp_path, "out"), tmp_path / "errors", moment):
            killed.append(name)
        for path, when in made.items():
            assert path.stat().st_mtime_ns == when, f"{path} was made twice"
        made = {path: path.stat().st_mtime_ns for path in out.glob("cells/**/*.json")}
    assert len(killed) >= 4, f"only killed when {killed}"
    forked.run(command(tmp_path, "out"), tmp_path / "errors")
    expected, found = cells_of(tmp_path / "calm"), cells_of(out)
    assert found.keys() == expected.keys()
    assert len(found) == 6
    for name, cell in expected.items():
        np.testing.assert_array_equal(found[name].losses, cell.losses, name)
        np.testing.assert_array_equal(found[name].rows, cell.rows, name)
        assert (found[name].num_steps, found[name].num_tokens) == (cell.num_steps, cell.num_tokens), name
    assert not list(out.glob("tuned/*/trainer")), "what only helps to go on is left behind"
