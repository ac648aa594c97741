"""Limits of the system on one process: one message that says which, exit code 2, and the same command goes on after."""

import resource
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from g2is.demo.skills import write_pool, write_target

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = ["warmup.lora.rank=4", "warmup.fraction=0.3", "warmup.epochs=1", "gradients.projection.dim=512"]


def command(folder: Path, out: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    files = [str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL)]
    return ["select", *files, "--out", str(folder / out), "--budget", "10%", *settings]


def limited(arguments: list[str], errors: Path, kind: int, limit: int) -> None:
    resource.setrlimit(kind, (limit, limit))
    forked.command_here(arguments, errors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits")
    write_pool(folder / "pool.jsonl", num_rows=120)
    write_target(folder / "target.jsonl", num_rows=8)
    return folder


FSIZE, NOFILE, AS = resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS
LIMITS = {
    **{f"{size} MiB of memory": (AS, size << 20, "expected memory for what comes next") for size in (900, 1500)},
    **{f"{num} open files": (NOFILE, num, "Too many open files") for num in (7, 10)},
    # what is written first that is larger: tokens, adapter, the Trainer's checkpoint, a shard's rows …
    **{f"files of {size} KiB": (FSIZE, size << 10, "File too large") for size in (1, 8, 40, 100, 400)},
}


def test_a_limit_is_one_message_and_nothing_is_lost(folder: Path) -> None:
    """One command, under a wider limit each time, goes on where the last stopped it, and without one to its end."""
    errors = folder / "errors"
    for name, (kind, limit, found) in LIMITS.items():
        process = forked.start(limited, command(folder, "run"), errors, kind, limit)
        code, text = forked.ended(process), errors.read_text()
        assert code == 2, f"{name}: {text}"
        assert "Traceback" not in text, f"{name}: {text}"
        assert text.count("error: ") == 1, f"{name}: {text}"
        assert found in text, f"{name}: {text}"
    forked.run(command(folder, "run"), errors)


@pytest.mark.parametrize("size", [400, 970, 1025])  # MiB; with 1,025 OpenBLAS tried for ever, with 970 Python aborted
def test_too_little_address_space_for_the_libraries_is_told_before_they_are_loaded(size: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "g2is", "select", "a", "b", "--model", "m", "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=lambda: resource.setrlimit(AS, (size << 20, size << 20)),
    )
    assert done.returncode == 2
    assert " ".join(done.stderr.split()).startswith("error: expected 3 GiB of address space")
    assert not (tmp_path / "run").exists()
