"""kill -9 in a warm-up of all linear layers, the same command again: the same stored bytes as undisturbed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from forked import run, run_until, stored_bytes

from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = [
    *("warmup.learning_rate=5e-4", "warmup.fraction=0.3", "warmup.epochs=2", "warmup.batch_size=8"),
    *("execution.resume_steps=2", "execution.shard_rows=48", "gradients.projection.dim=512"),
    *("gradients.parameters=all", "execution.report=false"),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moments", ["factored", "adam"])
def test_killed_and_resumed_it_ends_in_the_same_bytes(moments: str, tmp_path: Path) -> None:
    write_pool(tmp_path / "pool.jsonl", num_rows=120)
    write_target(tmp_path / "target.jsonl", num_rows=8)

    def command(name: str) -> list[str]:
        settings = [part for one in (*SETTINGS, f"gradients.second_moments={moments}") for part in ("--set", one)]
        files = [str(tmp_path / "pool.jsonl"), str(tmp_path / "target.jsonl"), "--model", str(MODEL)]
        places = ["--out", str(tmp_path / f"run-{name}"), "--store", str(tmp_path / name)]
        return ["select", *files, *places, "--budget", "10%", *settings]

    def exists(place: str) -> Callable[[], bool]:
        return lambda: (tmp_path / "killed" / place).exists()

    run(command("calm"), tmp_path / "errors")
    moments_of_kill = [
        exists("warmup/trainer/checkpoint-4/complete"),
        exists("warmup/trainer/checkpoint-8/model.safetensors"),
        exists("gradients/pool/markers/000000.json"),
    ]
    killed = [run_until(command("killed"), tmp_path / "errors", moment) for moment in moments_of_kill]
    assert sum(killed) >= 2, killed
    run(command("killed"), tmp_path / "errors")
    expected, found = stored_bytes(tmp_path / "calm"), stored_bytes(tmp_path / "killed")
    assert found.keys() == expected.keys()
    assert not [name for name in expected if found[name] != expected[name]]
