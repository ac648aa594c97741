"""kill -9 while `tacs` tunes on its targets and stores losses, the same command each time: the store and selection that
an undisturbed run has.
"""

import json
import signal
from pathlib import Path

import forked
import pytest
from small_run import MODEL, set_flags

from g2is.demo.skills import write_pool, write_target

SETTINGS = {
    "representation.path_learning_rate": "1e-2",
    "representation.path_epochs": "3",  # a step each
    "representation.path_reference_epochs": "0",
    "representation.path_batch_size": "32",
    "execution.shard_rows": "8",
    "execution.resume_steps": "1",
    "execution.device": "cpu",
    "execution.report": "false",
}
# One after the other, in one store: the function it dies before, after so many calls, and what lies there then.
MOMENTS = [
    ("transformers.trainer.rotate_checkpoints", 1, "adapters/0/trainer/checkpoint-2", "adapters/0/adapter"),
    ("g2is.training.tune.write_json", 1, "adapters/1/adapter", "adapters/1/training.json"),
    ("g2is.store.markers.write_atomically", 3, "pool/markers/000000.json", "pool/markers/000002.json"),
]


def command(folder: Path, name: str) -> list[str]:
    targets = [part for target in ("one", "two") for part in ("--target", f"{target}={folder / target}.jsonl")]
    places = ["--out", str(folder / name), "--store", str(folder / f"{name}-store"), "--budget", "6"]
    settings = ["--method", "tacs", *set_flags(SETTINGS)]
    return ["select", str(folder / "pool.jsonl"), *targets, "--model", str(MODEL), *places, *settings]


def stored(store: Path) -> dict[str, bytes]:
    """Every file of a store; a tuning's record without the seconds that it took, and the digest of these."""
    files = forked.stored_bytes(store)
    for name in files:
        if name.endswith("training.json"):
            kept = {key: of for key, of in json.loads(files[name]).items() if key not in ("seconds", "digest")}
            files[name] = json.dumps(kept).encode()
    return files


@pytest.mark.slow
def test_killed_while_it_tunes_on_targets_and_stores_losses_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=24)
    write_target(tmp_path / "one.jsonl", num_rows=4)
    write_target(tmp_path / "two.jsonl", num_rows=4, seed=3)
    errors = tmp_path / "errors"
    forked.run(command(tmp_path, "calm"), errors)
    for function, calls, is_there, is_not in MOMENTS:
        died = forked.command(command(tmp_path, "killed"), errors, dies_before=function, calls=calls)
        assert forked.ended(died) == -signal.SIGKILL, (function, errors.read_text())
        (place,) = (tmp_path / "killed-store").glob("tacs-*")
        assert (place / is_there).exists(), function
        assert not (place / is_not).exists(), function
    forked.run(command(tmp_path, "killed"), errors)
    expected, found = stored(tmp_path / "calm-store"), stored(tmp_path / "killed-store")
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    for name in ("selection.parquet", "scores.parquet", "selected.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "calm" / name).read_bytes(), name
