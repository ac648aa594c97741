"""Stop every command at a random moment, give it again, and compare every byte with a run that nobody disturbed.

Commands are started by a fork of a process that has imported everything (`tests/faults/forked.py`): so a moment falls
into the command's own work, not into the seconds that its imports take. A few more are processes as a user starts them,
stopped while they start.

Each trial has a folder of its own, with the same names in it, so that the paths that files hold are the same too.
"""

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/faults"), str(ROOT / "tests/parity")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import checkpoints  # noqa: E402
import forked  # noqa: E402
import numpy as np  # noqa: E402

from faults.breaking import broken, heed_signals  # noqa: E402
from g2is.cli.session import quiet_libraries  # noqa: E402
from g2is.config import ModelConfig  # noqa: E402
from g2is.demo.skills import write_pool, write_target  # noqa: E402
from g2is.model.folder import find_model  # noqa: E402

MODEL = str(ROOT / "src/g2is/demo/model")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
OF_EACH = 30  # moments of each signal and command, where there is time
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

# What is not compared: how long something took and how much memory it had, and hashes of files that say that.
TIMES = ("seconds", "sittings", "peak_memory_bytes", "digest", "versions", "environment")
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
            *("compare", *_FILES, "--test", "test.jsonl", "--out", "compared", "--methods", "less-rr,bm25"),
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
)


@dataclass(frozen=True)
class Outcome:
    """What came of a disturbed command that was given again.

    `ended` says how it went: `same` bytes, `otherwise`, or `failed` for good. `clear` is whether the disturbed command
    said in one line what it is to say; `detail` is what was found where something is wrong.
    """

    ended: str
    clear: bool
    detail: str = ""


class Calm:
    """Undisturbed runs of commands, made when they are first asked for, and the files that trials begin with."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._lock = threading.RLock()
        self._known: dict[str, tuple[float, dict[str, bytes], int]] = {}
        self._number = 0
        inputs = place / "inputs"
        inputs.mkdir(parents=True)
        write_pool(inputs / "pool.jsonl", num_rows=60)
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
        """Seconds that the command takes, every file that it leaves, and its durable steps."""
        with self._lock:
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
            folder, begin = self.folder(command), time.monotonic()
            complete(folder, command, how)
            seconds = time.monotonic() - begin
            left.append(contents(folder))
            if how == "count":
                steps = int(folder.with_suffix(".steps").read_text())
        differing = differences(*left)
        assert not differing, f"{command.name}: two undisturbed runs differ in {differing}"
        return seconds, left[0], steps

    def folder(self, command: Command) -> Path:
        """A new folder with what the command begins with."""
        with self._lock:
            self._number += 1
            folder = self.place / f"trial-{self._number}"
        folder.mkdir()
        for name in command.begins_with:
            source = self.place / "inputs" / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        return folder


def complete(folder: Path, command: Command, how: str | None = None, step: int = 0) -> int:
    """Run a command to its end; its exit code, which must be 0 unless it is broken."""
    process = forked.start(broken, folder, list(command.arguments), folder.with_suffix(".err"), how, step)
    code = forked.ended(process)
    assert code == 0 or how in ("die", "full"), said(folder)
    return code


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
    if path.suffix not in (".json", ".yaml"):
        return content
    content = content.replace(f"{folder}".encode(), b".")  # settings have whole paths
    if path.suffix == ".yaml":
        return content
    value = _strip(json.loads(content))
    if path.name == "digests.json":  # of the files that are compared byte by byte
        value = {name: digest for name, digest in value.items() if not name.endswith((".json", ".yaml"))}
    return json.dumps(value, sort_keys=True).encode()


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strip(part) for key, part in value.items() if key not in TIMES and not NOT_COMPARED.search(key)}
    return [_strip(part) for part in value] if isinstance(value, list) else value


def differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """The files that are in one alone, or hold other bytes."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def stopped_at(calm: Calm, command: Command, number: signal.Signals, shares: Sequence[float]) -> Outcome | None:
    """Stop a command by a signal after these shares of its time, once for each, then let it end.

    None if it ended before the first signal came.
    """
    seconds, expected, _ = calm.of(command)
    folder, clear, detail, hit = calm.folder(command), True, "", 0
    for share in shares:
        process = forked.start(broken, folder, list(command.arguments), folder.with_suffix(".err"), None, 0)
        assert process.pid is not None
        while process.is_alive() and not heeds(process.pid, signal.SIGTERM):
            time.sleep(0.001)
        process.join(share * seconds)
        if process.is_alive():
            os.kill(process.pid, number)
        code, text = forked.ended(process), said(folder)
        if code == 0 and "stopped; " not in text:
            continue
        hit += 1
        if number != signal.SIGKILL and not is_one_line(text, code, number):
            clear, detail = False, f"exit {code}: {text[-1500:]}"
    if not hit:
        return None
    return _ended(command, folder, expected, clear, f"{shares}: {detail}")


def broken_at(calm: Calm, command: Command, how: str, step: int) -> Outcome | None:
    """Kill a command at a durable step, or let its disk be full from there on; then let it end."""
    _, expected, _ = calm.of(command)
    folder = calm.folder(command)
    code, text = complete(folder, command, how, step), said(folder)
    if code == 0:
        return None
    clear = how == "die" or (code == 2 and "Traceback" not in text and text.count("error: ") == 1)
    return _ended(command, folder, expected, clear, f"step {step}: exit {code}: {text[-1500:]}")


def _ended(command: Command, folder: Path, expected: Mapping[str, bytes], clear: bool, detail: str) -> Outcome:
    process = forked.start(broken, folder, list(command.arguments), folder.with_suffix(".err"), None, 0)
    if forked.ended(process):
        return Outcome("failed", clear, f"{detail}\nthen, given again: {said(folder)[-1500:]}")
    found = differences(expected, contents(folder))
    shutil.rmtree(folder)
    if found:
        return Outcome("otherwise", clear, f"{detail}\nother bytes in {found}")
    return Outcome("same", clear, "" if clear else detail)


def heeds(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal."""
    try:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in status if line.startswith("SigCgt:")), 0)
    return bool(caught >> (number - 1) & 1)


def is_one_line(text: str, code: int, number: signal.Signals) -> bool:
    """Whether a stopped command ended with one line that says what is kept and how to go on, and its exit code."""
    lines = [line for line in text.splitlines() if line.strip()]
    at = [place for place, line in enumerate(lines) if line.startswith("stopped; ")]
    return code == 128 + number and "Traceback" not in text and at == [len(lines) - 1]


def started(calm: Calm, command: Command, number: signal.Signals, seconds: float) -> Outcome | None:
    """Stop a command, started as a user starts it, so many seconds after it began to heed signals; then let it end."""
    _, expected, _ = calm.of(command)
    folder = calm.folder(command)
    with folder.with_suffix(".err").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "g2is", *command.arguments],
            cwd=folder,
            stdout=errors,
            stderr=errors,
            preexec_fn=heed_signals,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        )
        while process.poll() is None and not heeds(process.pid, signal.SIGTERM):
            time.sleep(0.002)
        time.sleep(seconds)
        process.send_signal(number)
        code = process.wait()
    if code == 0:
        return None
    text = said(folder)
    clear = number == signal.SIGKILL or is_one_line(text, code, number)
    return _ended(command, folder, expected, clear, f"{seconds:.2f} s: exit {code}: {text[-1500:]}")


def run_trials(
    trials: Mapping[str, Iterator[Callable[[], Outcome | None]]], of_each: int, until: float
) -> list[dict[str, Any]]:
    """Make `of_each` trials of every row in turn, two at a time, until the time is over; a row for each."""
    found: dict[str, list[Outcome]] = {what: [] for what in trials}

    def one(what: str) -> tuple[str, Outcome | None]:
        return what, next(trials[what])() if time.monotonic() < until else None

    with ThreadPoolExecutor(2) as beside:
        for _ in range(of_each):
            for what, outcome in beside.map(one, trials):
                if outcome is not None:
                    found[what].append(outcome)
            if time.monotonic() > until:
                break
    return [_row(what, outcomes) for what, outcomes in found.items()]


def _row(what: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    wrong = [outcome.detail for outcome in outcomes if outcome.ended != "same" or not outcome.clear]
    ended = {name: sum(outcome.ended == name for outcome in outcomes) for name in ("same", "otherwise", "failed")}
    row = {"what": what, "tried": len(outcomes), **ended, "unclear": sum(not outcome.clear for outcome in outcomes)}
    return row | ({"note": "\n".join(wrong)[:6000]} if wrong else {})


def run_all(
    budget_s: float, seed: int, calm: Calm, commands: Sequence[Command] = COMMANDS, of_each: int = OF_EACH
) -> list[dict[str, Any]]:
    """Rows of commands that are stopped at any moment of their own work."""
    until = time.monotonic() + budget_s
    trials: dict[str, Iterator[Callable[[], Outcome | None]]] = {}
    for command in commands:
        for number in SIGNALS:
            draw = random.Random(f"{seed} {command.name} {number}")
            trials[f"{command.name} × {number.name}"] = _at_random(calm, command, number, draw, 1)
        draw = random.Random(f"{seed} {command.name}")
        trials[f"{command.name} × three SIGKILL in a row"] = _at_random(calm, command, signal.SIGKILL, draw, 3)
        for how, name in (("die", "SIGKILL at a durable step"), ("full", "disk full from a durable step on")):
            trials[f"{command.name} × {name}"] = _at_steps(calm, command, how, random.Random(f"{seed} {how}"))
    return run_trials(trials, of_each, until)


def _at_random(
    calm: Calm, command: Command, number: signal.Signals, draw: random.Random, kills: int
) -> Iterator[Callable[[], Outcome | None]]:
    while True:
        shares = [draw.random() for _ in range(kills)]
        yield lambda shares=shares: stopped_at(calm, command, number, shares)  # type: ignore[misc]


def _at_steps(calm: Calm, command: Command, how: str, draw: random.Random) -> Iterator[Callable[[], Outcome | None]]:
    while True:
        share = draw.random()
        yield lambda share=share: broken_at(calm, command, how, int(share * calm.of(command)[2]))  # type: ignore[misc]


def run_started(budget_s: float, seed: int, calm: Calm, of_each: int = OF_EACH) -> list[dict[str, Any]]:
    """Rows of commands that are stopped in their first second, as a user starts them."""
    until, trials = time.monotonic() + budget_s, {}
    for number in SIGNALS:
        draw = random.Random(f"{seed} started {number}")

        def at_random(number: signal.Signals = number, draw: random.Random = draw) -> Iterator[Any]:
            while True:
                command, seconds = draw.choice(COMMANDS), draw.random()
                yield lambda command=command, seconds=seconds: started(calm, command, number, seconds)

        trials[f"any command, in its first second × {number.name}"] = at_random()
    return run_trials(trials, of_each, until)


def run(budget_s: float, seed: int) -> list[dict[str, Any]]:
    """A row for each command and way to stop it: tried, and how many ended in the same bytes, otherwise, or failed.

    `unclear` counts the stopped ones that did not say in one line what is kept. Takes up to `budget_s` seconds: fewer
    moments than 30 of each where that is too little, which `tried` says.
    """
    # in memory where there is such a place: it is processes that are killed, not the machine
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as place:
        calm = Calm(Path(place) / "trials")
        return run_all(0.85 * budget_s, seed, calm) + run_started(0.15 * budget_s, seed, calm)
