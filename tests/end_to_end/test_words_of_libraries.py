"""What libraries say while they are imported, and of how one of them uses another, reaches no user of g2is."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_run import MODEL, SMALL, set_flags

TRAINING = ["--set", "tuning.epochs=1", "--learning-rate", "2e-3", "--rank", "4"]
FROM_PYTHON = """
import sys, g2is
run, model, out = sys.argv[1:]
g2is.train(data=run, model=model, out=out, tuning={"epochs": 1, "learning_rate": 2e-3, "lora": {"rank": 4}})
import peft  # which has been imported: so bitsandbytes is, where it is installed
"""


def told(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def check(said: str) -> None:
    for words in ("gemm_4bit", "bitsandbytes", "FutureWarning", "is_gradient_checkpointing", "Warning:"):
        assert words not in said, said


def test_a_training_from_python_says_nothing_of_theirs(finished: Path, tmp_path: Path) -> None:
    check(told(sys.executable, "-c", FROM_PYTHON, finished, MODEL, tmp_path / "tuned"))


@pytest.mark.parametrize("command", ["select", "train"])
def test_a_command_says_nothing_of_theirs(command: str, finished: Path, sample: Path, tmp_path: Path) -> None:
    files = [sample / "pool.jsonl", sample / "target.jsonl"]
    arguments = {
        "select": [*files, "--model", MODEL, "--budget", "10%", "--out", tmp_path / "run", *set_flags(SMALL)],
        "train": [finished, "--model", MODEL, "--out", tmp_path / "tuned", *TRAINING],
    }
    check(told(sys.executable, "-m", "g2is", command, *arguments[command]))
