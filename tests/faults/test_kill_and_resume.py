"""kill -9 at any moment, the same command again: the same selection and the same stored bytes as undisturbed."""

import json
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
from forked import run_until, stored_bytes

from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = [
    "warmup.learning_rate=2e-3",
    "warmup.lora.rank=4",
    "warmup.fraction=0.3",
    "warmup.epochs=2",
    "warmup.batch_size=8",
    "warmup.checkpoints=each",
    "execution.resume_steps=2",
    "execution.shard_rows=48",
    "gradients.projection.dim=512",
    "gradients.forms=[less, momentum-free]",
]


def command(folder: Path, *, out: str = "run", store: str = "store", pool: str = "pool.jsonl") -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    files = [str(folder / pool), str(folder / "target.jsonl"), "--model", str(MODEL)]
    places = ["--out", str(folder / out), "--store", str(folder / store)]
    return ["select", *files, *places, "--budget", "10%", *settings]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    write_pool(folder / "pool.jsonl", num_rows=180)
    write_target(folder / "target.jsonl", num_rows=8)
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Path:
    forked.run(command(folder, out="calm-run", store="calm-store"), folder / "errors")
    return folder


@pytest.mark.timeout(600)
def test_killed_at_every_stage_and_resumed_it_ends_in_the_same_bytes(undisturbed: Path) -> None:
    folder = undisturbed
    store, out = folder / "store", folder / "run"
    trainer, shards = store / "warmup/trainer", store / "gradients/pool"

    def exists(pattern: str, base: Path) -> Callable[[], bool]:
        return lambda: any(base.glob(pattern))

    moments = {
        "the pool is being tokenised": exists(".*.partial", store / "examples"),
        "a warm-up checkpoint is half written": exists("checkpoint-2/adapter_model.safetensors", trainer),
        "a warm-up checkpoint is complete": exists("checkpoint-4/complete", trainer),
        "an epoch is kept, the next under way": exists("checkpoint-8", trainer),
        "the first shard's rows are written": exists("epoch-1/less/rows/c/0", shards),
        "the second shard is stored": exists("markers/000001.json", shards),
        "the third shard is half written": exists("epoch-1/less/rows/c/2", shards),
        "the selection is written": exists("selection.parquet", out),
    }
    killed = [name for name, moment in moments.items() if run_until(command(folder), folder / "errors", moment)]
    # the half-written moments last milliseconds: most are hit, and those that are not have run on to a later one
    assert len(killed) >= 5, f"only killed while {killed}"
    forked.run(command(folder), folder / "errors")
    expected, found = stored_bytes(folder / "calm-store"), stored_bytes(store)
    assert found.keys() == expected.keys()
    different = [name for name in expected if found[name] != expected[name]]
    assert not different, f"killed while {killed}; different bytes in {different}"
    for name in ("selection.parquet", "scores.parquet", "selected.jsonl", "selected.messages.jsonl"):
        assert (out / name).read_bytes() == (folder / "calm-run" / name).read_bytes(), name


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "window",
    [
        # 54 rows, 8 a step, 7 steps an epoch, checkpoints every 2 steps and at the end
        ("transformers.trainer.rotate_checkpoints", 6),  # the last checkpoint is written and not marked, epoch-2 kept
        ("g2is.warmup.train.adapter_digest", 1),  # every epoch is kept, complete.json not written
        ("g2is.warmup.train.remove", 0),  # complete.json is written, the Trainer's folder not removed
    ],
    ids=lambda window: window[0].rsplit(".", 1)[1],
)
def test_killed_in_a_narrow_window_of_the_warm_up_it_ends_in_the_same_bytes(
    window: tuple[str, int], undisturbed: Path
) -> None:
    folder = undisturbed
    name = window[0].rsplit(".", 1)[1]
    arguments = command(folder, out=f"run-{name}", store=f"store-{name}")
    forked.run_until_killed(arguments, folder / "errors", *window)
    assert (folder / f"store-{name}/warmup/epoch-2").exists(), "killed too early to test the window"
    forked.run(arguments, folder / "errors")
    expected, found = stored_bytes(folder / "calm-store"), stored_bytes(folder / f"store-{name}")
    assert found.keys() == expected.keys()
    assert not [path for path in expected if found[path] != expected[path]]


@pytest.mark.timeout(600)
def test_a_pool_with_rows_added_extracts_only_those(undisturbed: Path) -> None:
    folder = undisturbed
    lines = (folder / "pool.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "more.jsonl").write_bytes(b"".join(lines))
    write_pool(folder / "other.jsonl", num_rows=30, seed=99)
    rows = [json.loads(line) for line in (folder / "other.jsonl").read_text().splitlines()]
    known = {json.dumps(json.loads(line)["messages"]) for line in lines}
    new = [row | {"id": f"new-{row['id']}"} for row in rows if json.dumps(row["messages"]) not in known]
    with (folder / "more.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in new)
    before = stored_bytes(folder / "calm-store")
    forked.run(command(folder, out="more-run", store="calm-store", pool="more.jsonl"), folder / "errors")
    after = stored_bytes(folder / "calm-store")
    added = [name for name in after if name.startswith("gradients/pool/markers/") and name not in before]
    assert sum(json.loads(after[name])["num_rows"] for name in added) == len(new)
    changed = [name for name in before if name.endswith(tuple("0123456789")) and after[name] != before[name]]
    assert not changed, f"stored shards changed: {changed}"
    assert (folder / "more-run" / "selection.parquet").exists()
