"""Undisturbed runs of every command, against which every byte of a disturbed one is compared.

Commands are started by a fork of a process that has imported everything (`tests/faults/forked.py`): so a moment falls
into the command's own work, not into the seconds that its imports take.

Each trial has a folder of its own, with the same names in it, so that the paths that files hold are the same too.
"""

import io
import json
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import checkpoints
import forked
import numpy as np

from faults import ROOT
from faults.breaking import broken
from g2is.cli.session import quiet_libraries
from g2is.config import ModelConfig
from g2is.demo.skills import write_pool, write_target
from g2is.model.folder import find_model

MODEL = str(ROOT / "src/g2is/demo/model")
_SELECTING = (
    *("warmup.learning_rate=2e-3", "warmup.lora.rank=4", "warmup.fraction=0.3", "warmup.batch_size=8"),
    *(
        "warmup.epochs=2",
        "warmup.checkpoints=each",
        "gradients.projection.dim=512",
        "execution.shard_rows=32",
        "execution.resume_steps=1",
    ),
)
_TUNING = ("tuning.learning_rate=2e-3", "tuning.lora.rank=4", "tuning.epochs=2", "tuning.batch_size=32")

# What is not compared: how long something took and how much memory it had, hashes of files that say that, and of whole
# paths.
TIMES = ("seconds", "sittings", "peak_memory_bytes", "digest", "versions", "environment", "run")
NOT_COMPARED = re.compile(r"(^|/)(\.lock|logs/.*|costs\.json|seconds\.json|comparison\.(md|csv))$")


@dataclass(frozen=True)
class Command:
    """A command line, and the files of `inputs` that its trials begin with."""

    name: str
    arguments: tuple[str, ...]
    begins_with: tuple[str, ...]


def _sets(*settings: str) -> tuple[str, ...]:
    return tuple(part for setting in settings for part in ("--set", setting))


_FILES = ("pool.jsonl", "target.jsonl", "--model", MODEL)
_SELECT = (*_FILES, "--out", "run", "--store", "store", *_sets(*_SELECTING))
COMMANDS = (
    Command("select", ("select", *_SELECT, "--budget", "10%"), ("pool.jsonl", "target.jsonl")),
    Command(
        "select --adapter",
        ("select", *_SELECT, "--budget", "10%", "--adapter", "own"),
        ("pool.jsonl", "target.jsonl", "own"),
    ),
    Command(
        "train",
        ("train", "pool.jsonl", "--model", MODEL, "--out", "tuned", *_sets(*_TUNING, "execution.resume_steps=1")),
        ("pool.jsonl",),
    ),
    Command(
        "evaluate",
        ("evaluate", "test.jsonl", "--model", MODEL, "--adapter", "own", "--out", "tested"),
        ("test.jsonl", "own"),
    ),
    Command(
        "compare",
        (
            *("compare", *_FILES, "--test", "test.jsonl", "--out", "compared", "--methods", "less-rr"),
            *("--budgets", "20%", "--seeds", "1", *_sets(*_SELECTING, *_TUNING, "evaluation.generate=false")),
        ),
        ("pool.jsonl", "target.jsonl", "test.jsonl"),
    ),
    Command(
        "walk",
        ("walk", "--pool-gradients", "pool.npy", "--target-gradients", "target.npy", "--out", "walked"),
        ("pool.npy", "target.npy"),
    ),
    Command("export", ("export", "run"), ("pool.jsonl", "target.jsonl", "run")),
    Command("report", ("report", "run"), ("run",)),  # of the pool and the store that the run names
)


class Calm:
    """Undisturbed runs of commands, made when they are first asked for, and the files that trials begin with."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._known: dict[str, tuple[float, dict[str, bytes], int]] = {}
        self._number = 0
        inputs = place / "inputs"
        inputs.mkdir(parents=True)
        write_pool(inputs / "pool.jsonl", num_rows=40)
        write_target(inputs / "target.jsonl", num_rows=4)
        write_target(inputs / "test.jsonl", num_rows=4, seed=5)
        rng = np.random.default_rng(0)
        np.save(inputs / "pool.npy", rng.normal(size=(2000, 64)).astype(np.float32))
        np.save(inputs / "target.npy", rng.normal(size=(8, 64)).astype(np.float32))
        base = find_model(ModelConfig(name=MODEL))
        quiet_libraries()
        with redirect_stdout(io.StringIO()):
            trained = checkpoints.train(base, place / "training", {"r": 4, "target_modules": ["q_proj", "v_proj"]})
        trained.folder.rename(inputs / "own")

    def of(self, command: Command) -> tuple[float, dict[str, bytes], int]:
        """Seconds of a command from when it heeds signals on, every file that it leaves, and its durable steps."""
        if command.name not in self._known:
            if "run" in command.begins_with and not (self.place / "inputs/run").exists():
                folder = self.folder(COMMANDS[0])
                complete(folder, COMMANDS[0])
                shutil.move(folder / "run", self.place / "inputs/run")
            self._known[command.name] = self._measure(command)
        return self._known[command.name]

    def _measure(self, command: Command) -> tuple[float, dict[str, bytes], int]:
        left: list[dict[str, bytes]] = []
        for how in ("count", None):
            folder = self.folder(command)
            seconds = complete(folder, command, how)
            left.append(contents(folder))
            if how == "count":
                steps = int(folder.with_suffix(".steps").read_text())
        differing = differences(*left)
        assert not differing, f"{command.name}: two undisturbed runs differ in {differing}"
        return seconds, left[0], steps

    def folder(self, command: Command) -> Path:
        """A new folder with what the command begins with."""
        self._number += 1
        folder = self.place / f"trial-{self._number}"
        folder.mkdir()
        for name in command.begins_with:
            source = self.place / "inputs" / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        return folder


def complete(folder: Path, command: Command, how: Literal["count"] | None = None) -> float:
    """Run a command to its end, which must be a good one; the seconds from when it heeds signals on."""
    process = forked.start(broken, folder, list(command.arguments), folder.with_suffix(".err"), how, 0)
    forked.wait_until_heeded(process)
    begin = time.monotonic()
    assert forked.ended(process) == 0, said(folder)
    return time.monotonic() - begin


def said(folder: Path) -> str:
    """What the last command in a folder printed."""
    return folder.with_suffix(".err").read_text(errors="replace")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that is compared, by relative path; texts without the folder's name, JSON without times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not NOT_COMPARED.search(name):
            found[name] = _compared(path, folder)
    return found


def _compared(path: Path, folder: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix not in (".json", ".yaml", ".html"):
        return content
    content = content.replace(f"{folder}".encode(), b".")  # settings have whole paths
    if path.suffix == ".html":  # its data, without the times that it shows
        _, _, data = content.partition(b'<script type="application/json" id="data">')
        return json.dumps(_strip(json.loads(data.partition(b"</script>")[0])), sort_keys=True).encode()
    if path.suffix == ".yaml":
        return content
    value = _strip(json.loads(content))
    if path.name == "digests.json":  # of the files that are compared byte by byte
        value = {name: digest for name, digest in value.items() if not name.endswith((".json", ".yaml", ".html"))}
    return json.dumps(value, sort_keys=True).encode()


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strip(part) for key, part in value.items() if key not in TIMES and not NOT_COMPARED.search(key)}
    return [_strip(part) for part in value] if isinstance(value, list) else value


def differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """The files that are in one alone, or hold other bytes."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
