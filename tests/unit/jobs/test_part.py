"""Which devices of a machine a part has: its own, or all where its model is spread; and then no other takes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import MODEL

from g2is.config import Config
from g2is.config.io import parse
from g2is.config.part import Part
from g2is.errors import ConfigError
from g2is.jobs.part import devices_held, make_part

HOLDING = """
import sys
from g2is.config.part import Part
from g2is.jobs.part import devices_held
with devices_held(sys.argv[1:], Part(1, 2)):
    print("held", flush=True)
    sys.stdin.read()
"""
# The command on a machine that seems to have four devices; it says what it was told to see when CUDA is first asked.
ASKING = """
import os, sys
import torch
def is_available():
    print("asked:", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    os._exit(0)
torch.cuda.is_available, torch.cuda.device_count = is_available, lambda: 4
sys.argv = ["g2is", *sys.argv[1:]]
from g2is.__main__ import main
main()
"""
REFUSED = (
    r"--worker 2/2: expected devices of its own beside model\.device_map, .* found {} in use by another g2is process"
)


@pytest.fixture(autouse=True)
def _own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine's folder of locks, for this test and the processes that it starts alone."""
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "machine"))
    monkeypatch.setattr("tempfile.tempdir", None)  # else it is looked up once a process


@pytest.mark.slow
def test_a_device_of_another_part_is_refused_until_that_ends_however_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDING, "GPU-1", "GPU-2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with devices_held(["GPU-3", "GPU-4"], Part(2, 2)):  # each its own: as CUDA_VISIBLE_DEVICES gives them
            pass
        with pytest.raises(ConfigError, match=REFUSED.format("GPU-2")), devices_held(["GPU-2", "GPU-3"], Part(2, 2)):
            pass
        other.kill()
    with devices_held(["GPU-1", "GPU-2", "GPU-3"], Part(2, 2)):  # GPU-3 was let go when GPU-2 was refused
        pass
    assert not list((tmp_path / "machine").glob("g2is-devices-*/*"))


def test_it_is_refused_before_anything_is_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("g2is.jobs.part.devices_taken", lambda model, device: ["GPU-1", "GPU-2"])
    (tmp_path / "pool.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    files = {"pool": tmp_path / "pool.jsonl", "target": tmp_path / "pool.jsonl", "out": tmp_path / "run"}
    model = {"name": str(tmp_path / "none"), "device_map": "auto"}
    config: Config = parse(Config, {**files, "model": model}, "a test")
    with (
        devices_held(["GPU-1"], Part(1, 2)),
        pytest.raises(ConfigError, match=REFUSED.format("GPU-1")),
    ):
        make_part(config, Part(2, 2))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("given", "expected"), [({}, "2"), ({"CUDA_VISIBLE_DEVICES": "3,5,6,7"}, "6")])
def test_a_task_of_a_scheduler_sees_its_own_device_alone_before_cuda_is_asked(
    given: dict[str, str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "pool.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    files = [tmp_path / "pool.jsonl", tmp_path / "pool.jsonl", "--model", MODEL, "--out", tmp_path / "run"]
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    tasks = {"SLURM_PROCID": "6", "SLURM_NTASKS": "8", "SLURM_LOCALID": "2", "SLURM_STEP_ID": "0", **given}
    command = [sys.executable, "-c", ASKING, "gradients", *map(str, files)]
    done = subprocess.run(command, env=kept | tasks, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == [f"asked: {expected}"], done.stdout + done.stderr


def test_parts_beside_a_cluster_that_makes_all_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    files = {"pool": tmp_path / "pool.jsonl", "target": tmp_path / "pool.jsonl", "out": tmp_path / "run"}
    given = {**files, "model": {"name": str(MODEL)}, "execution": {"engine": "ray"}}
    config: Config = parse(Config, given, "a test")
    with pytest.raises(ConfigError, match=r"--worker 2/3: expected the engine local beside other parts, found ray"):
        make_part(config, Part(2, 3))
    assert not (tmp_path / "run").exists()
