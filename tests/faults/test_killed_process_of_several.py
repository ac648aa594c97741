"""A process of several that train together dies, or cannot go on: the others end with one message, and nothing is lost.

No launcher ends the others here, as torchrun does: each has to see for itself that one is gone.
"""

import json
import re
from pathlib import Path

import forked
import pytest
import torch

from g2is.demo.skills import write_pool
from g2is.model.checkpoints import processes_of

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="this torch has no gloo"
)
MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = [
    *("tuning.lora.rank=2", "tuning.epochs=2", "tuning.batch_size=8", "execution.resume_steps=2"),
    *("tuning.learning_rate=1e-3", "execution.device=cpu"),
]
IN_THE_FOURTH_STEP = {"dies_before": "g2is.model.trainer.token_losses", "calls": 3}


def command(folder: Path, out: str) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", str(folder / "pool.jsonl"), "--model", str(MODEL), "--out", str(folder / out), *settings]


def told(folder: Path) -> list[Path]:
    return [folder / "errors-0", folder / "errors-1"]


def run_in_two(folder: Path, out: str, **dies: object) -> list[tuple[int, str]]:
    """How each of two processes ended, and what it said."""
    processes = forked.commands(command(folder, out), told(folder), **dies)
    return [(forked.ended(process), path.read_text()) for process, path in zip(processes, told(folder), strict=True)]


def goes_on(folder: Path, out: str) -> None:
    """The same command, in two processes, ends as the undisturbed training did, bit for bit, and began anew nowhere."""
    assert [code for code, _ in run_in_two(folder, out)] == [0, 0], [path.read_text() for path in told(folder)]
    adapters = [forked.stored_bytes(folder / name / "adapter") for name in (out, "calm")]
    assert adapters[0] == adapters[1]
    losses = [json.loads((folder / name / "training.json").read_text())["loss_by_step"] for name in (out, "calm")]
    assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 20 rows, the last step of an epoch has four, and an undisturbed training of two processes."""
    folder = tmp_path_factory.mktemp("several")
    write_pool(folder / "pool.jsonl", num_rows=20)
    (first, said), (second, silence) = run_in_two(folder, "calm")
    assert (first, second, silence) == (0, 0, ""), said + silence
    assert "tuned on 20 examples in 6 steps" in said
    return folder


def test_one_that_is_killed_ends_the_first_with_a_message_and_the_same_command_goes_on(folder: Path) -> None:
    (first, said), (second, _) = run_in_two(folder, "second", rank=1, **IN_THE_FOURTH_STEP)
    assert second == -9
    assert first == 2
    assert re.search(r"^error: expected all 2 processes to go on together, found one gone", said, re.MULTILINE), said
    assert "Traceback" not in said
    assert processes_of(folder / "second/trainer/checkpoint-2") == 2
    goes_on(folder, "second")


@pytest.mark.long
def test_the_first_killed_ends_the_others_with_a_message_and_the_same_command_goes_on(folder: Path) -> None:
    (first, _), (second, said) = run_in_two(folder, "first", rank=0, **IN_THE_FOURTH_STEP)
    assert first == -9
    assert second == 2
    assert said.startswith("error: expected process 0 to go on, found it gone; what was done before is kept"), said
    assert said.count("\n") == 1
    goes_on(folder, "first")


@pytest.mark.long
def test_one_alone_goes_on_from_what_two_did_and_says_what_that_changes(folder: Path) -> None:
    run_in_two(folder, "fewer", rank=1, raises=MemoryError, **IN_THE_FOURTH_STEP)
    said = told(folder)[0].read_text()
    assert "error: expected memory for 4 examples of up to" in said, said
    assert "checkpoint-2 is kept" in said
    assert "(process 1: as the test wants it)" in said
    forked.run(command(folder, "fewer"), folder / "errors")
    said = " ".join((folder / "errors").read_text().split())
    assert "written by 2 processes, and 1 go on: the same rows in the same steps" in said, said
    losses = [json.loads((folder / name / "training.json").read_text())["loss_by_step"] for name in ("fewer", "calm")]
    assert losses[0] == pytest.approx(losses[1], abs=0.1)  # dropout draws anew
    assert losses[0][:2] == losses[1][:2]


@pytest.mark.long
def test_a_bug_in_another_process_is_told_by_the_first_and_its_traceback_by_itself(folder: Path) -> None:
    (first, said), (second, traceback) = run_in_two(folder, "bug", rank=1, raises=KeyError, **IN_THE_FOURTH_STEP)
    assert (first, second) == (2, 0)
    assert "found that process 1 ended with a bug (KeyError: there is no 'as the test wants it')" in said, said
    assert traceback.startswith("Traceback"), traceback
    assert (folder / "bug/trainer/checkpoint-2/complete").exists()
