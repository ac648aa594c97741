"""Runs of `g2is gradients` on a Ray cluster that are disturbed, and the run that nobody disturbed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import forked
import torch
from forked import stored_bytes
from ray_nodes import Nodes, wait_for
from small_run import MODEL, SMALL, set_flags

from g2is.demo.skills import write_pool, write_target

NUM_SHARDS = 25


def make_calm(folder: Path) -> None:
    """Write files, and the store that one process makes of them: with one thread, as Ray's workers have here."""
    write_pool(folder / "pool.jsonl", num_rows=NUM_SHARDS * 16)
    write_target(folder / "target.jsonl", num_rows=8)
    process = forked.start(_with_one_thread, gradients(folder, "calm"), folder / "calm-errors")
    assert forked.ended(process) == 0, (folder / "calm-errors").read_text()


def _with_one_thread(arguments: list[str], errors: Path) -> None:
    torch.set_num_threads(1)
    forked.command_here(arguments, errors)


def gradients(folder: Path, name: str, *flags: str) -> list[str]:
    """The command line of the run `name`."""
    files = [str(folder / "pool.jsonl"), str(folder / "target.jsonl"), "--model", str(MODEL), "--device", "cpu"]
    settings = set_flags({**SMALL, "execution.shard_rows": "16", "warmup.fraction": "0.05"})
    return ["gradients", *files, "--out", str(folder / name), *settings, *flags]


def on(nodes: Nodes, *flags: str) -> list[str]:
    """The flags of a run on these nodes."""
    return ["--engine", "ray", "--address", nodes.address, *flags]


def markers(folder: Path, name: str) -> dict[str, int]:
    """The pool's shards that are stored, and when they were."""
    stored = (folder / name / "store/gradients/pool/markers").glob("*.json")
    return {path.name: path.stat().st_mtime_ns for path in stored}


def other_files(folder: Path, name: str) -> list[str]:
    """The files of a run's store that are not as in the undisturbed one."""
    expected, found = stored_bytes(folder / "calm/store"), stored_bytes(folder / name / "store")
    return sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))


def run_until(arguments: list[str], errors: Path, moment: Callable[[], object], number: signal.Signals) -> int:
    """Run until `moment`, and send the signal; its exit code."""
    process = forked.command(arguments, errors)
    wait_for(lambda: moment() or not process.is_alive())
    assert process.is_alive(), errors.read_text()
    assert process.pid is not None
    os.kill(process.pid, number)
    return forked.ended(process)
