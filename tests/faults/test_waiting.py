"""Commands that want one store, or one run, at the same time: with --wait each ends as if it were alone."""

from pathlib import Path

import forked
import pytest

from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = ("warmup.lora.rank=4", "warmup.fraction=0.3", "warmup.epochs=1", "gradients.projection.dim=128")


def command(folder: Path, out: str, store: str, *more: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    files = [str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL), "--budget", "10%"]
    return ["select", *files, "--out", str(folder / out), "--store", str(folder / store), *settings, *more]


@pytest.mark.slow
def test_four_at_once_on_a_new_store_take_turns(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=40)
    write_target(tmp_path / "target.jsonl", num_rows=4)
    outs = ["one", "two", "three", "three"]  # the last two want one run, too
    started = [
        forked.command(command(tmp_path, out, "store", "--wait"), tmp_path / f"errors-{number}")
        for number, out in enumerate(outs)
    ]
    codes = [forked.ended(process) for process in started]
    said = [(tmp_path / f"errors-{number}").read_text() for number in range(len(outs))]
    assert codes == [0, 0, 0, 0], said
    assert any("another g2is process (g2is select, process " in " ".join(text.split()) for text in said)
    forked.run(command(tmp_path, "calm", "calm-store"), tmp_path / "errors")
    assert forked.stored_bytes(tmp_path / "store") == forked.stored_bytes(tmp_path / "calm-store")
    for out in outs:
        for name in ("selection.parquet", "selected.jsonl", "scores.parquet"):
            assert (tmp_path / out / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()
