"""kill -9 while a user's checkpoint is taken, the same command again: the same stored bytes as undisturbed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import train

from g2is.config import ModelConfig
from g2is.demo.skills import write_pool, write_target
from g2is.model.folder import find_model

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"

# Runs the command in this process and dies just before a function is called for the first time.
KILLED_BEFORE = """
import importlib, os, sys
module, name = sys.argv[1].rsplit(".", 1)
setattr(importlib.import_module(module), name, lambda *_, **__: os.kill(os.getpid(), 9))
sys.argv = sys.argv[2:]
from g2is.cli.app import main
main()
"""


def stored_bytes(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed-import")
    write_pool(folder / "pool.jsonl", num_rows=20)
    write_target(folder / "target.jsonl", num_rows=4)
    base = find_model(ModelConfig(name=str(MODEL)))
    train(base, folder / "training", {"r": 4, "target_modules": ["q_proj", "v_proj"]}).folder.rename(folder / "own")
    subprocess.run(command(folder, "calm"), check=True, capture_output=True)
    return folder


def command(folder: Path, name: str) -> list[str]:
    files = [str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL)]
    places = ["--out", str(folder / f"run-{name}"), "--store", str(folder / f"store-{name}")]
    settings = ["--set", "gradients.projection.dim=128", "--adapter", str(folder / "own")]
    return [sys.executable, "-m", "g2is", "gradients", *files, *places, *settings]


@pytest.mark.parametrize(
    "window",
    [
        "g2is.warmup.imported.save_moments",  # the adapter is copied, the moments are not
        "g2is.warmup.imported.write_json",  # both are there, complete.json is not
        "g2is.pipeline.imported_summary",  # the checkpoint is kept, nothing after it done
    ],
)
def test_killed_while_a_checkpoint_is_taken_it_ends_in_the_same_bytes(window: str, folder: Path) -> None:
    name = window.rsplit(".", 1)[1]
    arguments = command(folder, name)
    program = [sys.executable, "-c", KILLED_BEFORE, window, *arguments[2:]]
    died = subprocess.run(program, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    own = stored_bytes(folder / "own")
    subprocess.run(arguments, check=True, capture_output=True)
    assert stored_bytes(folder / f"store-{name}") == stored_bytes(folder / "store-calm")
    assert stored_bytes(folder / "own") == own
