"""The same command under torchrun and accelerate launch, with two processes over gloo, and in one process.

Sums over two processes are rounded otherwise than over one. Without dropout, which each process draws for itself, that
is all the difference: losses of steps agree to 1e-4. Adam divides a gradient by its own size, so that where one is
nearly zero its rounding moves the weight by a part of the learning rate; how often that happens depends on the
processor. So each matrix is compared as a whole: its difference is at most 1e-4 of its length.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import MODEL, SMALL, selected_ids, set_flags

pytestmark = [
    pytest.mark.timeout(900),  # seconds of imports in each process: minutes, where a machine has others to serve
    pytest.mark.skipif(
        not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
        reason="this torch has no gloo",
    ),
]
G2is = Callable[..., tuple[int, str, str]]
TORCHRUN = ["torch.distributed.run", "--nproc-per-node", "2"]
ACCELERATE = [
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
]
SELECT = {**SMALL, "warmup.lora.dropout": "0", "warmup.batch_size": "16", "execution.shard_rows": "16"}
TUNE = {
    **{"tuning.lora.rank": "4", "tuning.lora.dropout": "0", "tuning.epochs": "1", "tuning.batch_size": "12"},
    **{"tuning.learning_rate": "1e-3", "execution.device": "cpu"},
}


def launched(launcher: list[str], *arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, "-m", *launcher, "-m", "g2is", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout, done.stderr


def assert_close(adapters: list[Path], losses: list[list[float]]) -> None:
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    found, expected = (load_file(adapter / "adapter_model.safetensors") for adapter in adapters)
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        difference = torch.linalg.vector_norm(weight - expected[name])
        assert difference <= 1e-4 * torch.linalg.vector_norm(expected[name]), name


def test_torchrun_selects_as_one_process_does_and_its_store_serves_one(
    sample: Path, tmp_path: Path, g2is: G2is
) -> None:
    files = [sample / "pool.jsonl", sample / "target.jsonl", "--model", MODEL, "--device", "cpu", *set_flags(SELECT)]
    places = {name: ["--out", tmp_path / name / "run", "--store", tmp_path / name / "store"] for name in ("one", "two")}
    code, _, said = g2is("select", *files, "--budget", "12", *places["one"])
    assert code == 0, said
    code, out, said = launched(TORCHRUN, "select", *files, "--budget", "12", *places["two"])
    assert code == 0, said
    assert out.count("12 rows selected of 150") == 1, out
    assert said.count("warm up  ") == 1, said
    assert "Warning" not in said, said
    warmups = [tmp_path / name / "store/warmup" for name in places]
    losses = [json.loads((warmup / "complete.json").read_text())["loss_by_step"] for warmup in warmups]
    assert_close([warmup / "epoch-1" for warmup in warmups], losses)
    moments = [load_file(warmup / "epoch-1/moments.safetensors") for warmup in warmups]
    for name, of_one in moments[0].items():
        torch.testing.assert_close(moments[1][name], of_one, rtol=1e-3, atol=1e-6)
    assert len(set(selected_ids(tmp_path / "one/run")) & set(selected_ids(tmp_path / "two/run"))) >= 11

    store = tmp_path / "two/store"
    made = {path: path.read_bytes() for path in sorted((store / "gradients").rglob("*")) if path.is_file()}
    shutil.rmtree(store / "gradients")
    code, _, said = g2is("gradients", *files, *places["two"])
    assert code == 0, said
    assert made == {path: path.read_bytes() for path in sorted((store / "gradients").rglob("*")) if path.is_file()}


@pytest.mark.long
def test_accelerate_launch_trains_as_one_process_does(sample: Path, tmp_path: Path, g2is: G2is) -> None:
    rows = (sample / "pool.jsonl").read_text().splitlines(keepends=True)[:31]  # the last step has 7 rows: 4 and 3
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    arguments = ["train", tmp_path / "rows.jsonl", "--model", MODEL, *set_flags(TUNE), "--out"]
    code, _, said = g2is(*arguments, tmp_path / "one")
    assert code == 0, said
    code, out, said = launched(ACCELERATE, *arguments, tmp_path / "two")
    assert code == 0, said
    assert out.count("tuned on 31 examples in 3 steps") == 1, out
    outs = [tmp_path / "one", tmp_path / "two"]
    losses = [json.loads((folder / "training.json").read_text())["loss_by_step"] for folder in outs]
    assert_close([folder / "adapter" for folder in outs], losses)


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate", "x.jsonl", "--model", "m", "--out", "o"], "g2is evaluate: expected one process, found 2 of"),
        (
            ["select", "x.jsonl", "y.jsonl", "--model", str(MODEL), "--out", "o", "--budget", "3", "--workers", "2"],
            "execution.workers: expected none beside torchrun, whose 2 processes make rows, found 2",
        ),
    ],
)
def test_what_several_processes_do_not_do_is_refused_once(command: list[str], message: str, tmp_path: Path) -> None:
    code, _, said = launched(TORCHRUN, *command)
    assert code == 1  # torchrun's own, for the 2 of the first process
    assert said.count("error: ") == 1, said
    assert f"error: {message}" in said
    assert "exitcode  : 2" in said
    assert not any(tmp_path.iterdir())
