"""Ctrl-C and SIGTERM at any moment: one line, their exit code, and the same command ends in the bytes of a calm one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest

from g2is.demo.skills import write_pool, write_target
from g2is.store.files import read_json

MODEL = Path(__file__).resolve().parents[2] / "src/g2is/demo/model"
SETTINGS = ["warmup.lora.rank=4", "warmup.fraction=0.3", "warmup.epochs=2", "gradients.projection.dim=512"]


def command(folder: Path, out: str) -> list[str]:
    settings = [part for setting in [*SETTINGS, "execution.resume_steps=1"] for part in ("--set", setting)]
    files = [str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL)]
    return ["select", *files, "--out", str(folder / out), "--store", str(folder / f"{out}-store"), *settings]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signals")
    write_pool(folder / "pool.jsonl", num_rows=120)
    write_target(folder / "target.jsonl", num_rows=8)
    forked.run([*command(folder, "calm"), "--budget", "10%"], folder / "errors")
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_a_signal_while_the_command_starts_is_one_line(folder: Path, number: signal.Signals, seconds: float) -> None:
    out = f"start-{number}-{seconds}"
    arguments = [sys.executable, "-m", "g2is", *command(folder, out), "--budget", "10%"]
    heed = lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGTERM)]  # noqa: E731
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, preexec_fn=heed, env=dict(os.environ))
    while not forked.heeds(process.pid, signal.SIGTERM):  # Python itself needs a moment before any line of ours runs
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert err.count("stopped; ") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_of_a_run_loses_nothing(folder: Path, number: signal.Signals) -> None:
    out, errors, moments, stopped = f"run-{number}", folder / "errors", random.Random(int(number)), 0
    for _ in range(6):
        process = forked.command([*command(folder, out), "--budget", "10%"], errors)
        process.join(moments.uniform(0.1, 0.9))
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, number)
        code, text = forked.ended(process), errors.read_text()
        assert code in (0, 128 + number), text
        assert "Traceback" not in text
        if code:
            stopped += 1
            assert text.count("stopped; ") == 1
    assert stopped
    forked.run([*command(folder, out), "--budget", "10%"], errors)
    calm, found = (forked.stored_bytes(folder / f"{name}-store") for name in ("calm", out))
    assert found == calm
    for name in ("selected.jsonl", "selection.parquet", "scores.parquet"):
        assert (folder / out / name).read_bytes() == (folder / "calm" / name).read_bytes()


@pytest.mark.parametrize(
    ("where", "notes"),
    [("jobs.select", "noted/digests.json"), ("examples.make_table", "noted-store/examples/digests.json")],
)
def test_a_run_killed_before_its_files_are_noted_notes_them_when_it_goes_on(
    folder: Path, where: str, notes: str
) -> None:
    shutil.rmtree(folder / "noted", ignore_errors=True)
    shutil.rmtree(folder / "noted-store", ignore_errors=True)
    arguments = [*command(folder, "noted"), "--budget", "10%"]
    died = forked.command(arguments, folder / "errors", dies_before=f"g2is.{where}.record_digests", calls=1)
    assert forked.ended(died) == -signal.SIGKILL
    forked.run(arguments, folder / "errors")
    found, calm = read_json(folder / notes), read_json(folder / notes.replace("noted", "calm"))
    assert found.keys() == calm.keys()
    of_tables = [name for name in found if name.endswith(".parquet")]
    assert of_tables
    assert [found[name] for name in of_tables] == [calm[name] for name in of_tables]


@pytest.mark.parametrize("calls", [1, 2])  # before the answers are noted, and before the result is
def test_so_does_an_evaluation(folder: Path, calls: int) -> None:
    def arguments(out: str) -> list[str]:
        files = [str(folder / "target.jsonl"), "--model", str(MODEL)]
        return ["evaluate", *files, "--out", str(folder / out), "--set", "evaluation.max_new_tokens=4"]

    if not (folder / "calm-test").exists():
        forked.run(arguments("calm-test"), folder / "errors")
    out = f"test-{calls}"
    name = "g2is.jobs.evaluate.record_digests"
    assert forked.ended(forked.command(arguments(out), folder / "errors", dies_before=name, calls=calls)) == -9
    forked.run(arguments(out), folder / "errors")
    found, calm = read_json(folder / out / "digests.json"), read_json(folder / "calm-test/digests.json")
    assert found.keys() == calm.keys()
    assert found["answers.parquet"] == calm["answers.parquet"]
