"""Stop every command at a random moment, give it again, and compare every byte with a run that nobody disturbed.

A few are processes as a user starts them, stopped while they start; the others begin where everything is imported.
Each of `make faults`' two parts makes half of the trials.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked

from faults import ROOT
from faults.breaking import How, heed_signals
from faults.calm import COMMANDS, Calm, Command, contents, differences, said, start

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_BREAKS: dict[How, str] = {"die": "SIGKILL at a durable step", "full": "disk full from a durable step on"}
OF_EACH = 15  # moments of each signal and command in each of the two parts, where there is time


@dataclass(frozen=True)
class Outcome:
    """What came of a disturbed command that was given again.

    `ended` says how it went: `same` bytes, `otherwise`, or `failed` for good. `clear` is whether the disturbed command
    said in one line what it is to say; `detail` is what was found where something is wrong.
    """

    ended: str
    clear: bool
    detail: str = ""


def stopped_at(calm: Calm, command: Command, number: signal.Signals, shares: Sequence[float]) -> Outcome | None:
    """Stop a command by a signal after these shares of its time, once for each, then let it end.

    None if it ended before the first signal came.
    """
    seconds, expected, _ = calm.of(command)
    folder, clear, detail, hit = calm.folder(command), True, "", 0
    for share in shares:
        process = start(folder, command)
        assert process.pid is not None
        forked.wait_until_heeded(process)
        process.join(share * seconds)
        if process.is_alive():
            with suppress(ProcessLookupError):  # it may end, and be reaped by the server that forked it, just now
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


def broken_at(calm: Calm, command: Command, how: How, step: int) -> Outcome | None:
    """Kill a command at a durable step, or let its disk be full from there on; then let it end."""
    _, expected, _ = calm.of(command)
    folder = calm.folder(command)
    process = start(folder, command, how, step)
    code, text = forked.ended(process), said(folder)
    if code == 0:
        return None
    clear = how == "die" or (code == 2 and "Traceback" not in text and text.count("error: ") == 1)
    return _ended(command, folder, expected, clear, f"step {step}: exit {code}: {text[-1500:]}")


def _ended(command: Command, folder: Path, expected: Mapping[str, bytes], clear: bool, detail: str) -> Outcome:
    process = start(folder, command)
    if forked.ended(process):
        return Outcome("failed", clear, f"{detail}\nthen, given again: {said(folder)[-1500:]}")
    found = differences(expected, contents(folder))
    shutil.rmtree(folder)
    if found:
        return Outcome("otherwise", clear, f"{detail}\nother bytes in {found}")
    return Outcome("same", clear, "" if clear else detail)


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
        while process.poll() is None and not forked.heeds(process.pid, signal.SIGTERM):
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
    """Make `of_each` trials of every row in turn, until the time is over; a row for each.

    A command that ended before it could be stopped is no trial: another moment is drawn for it.
    """
    found: dict[str, list[Outcome]] = {what: [] for what in trials}
    for _ in range(4 * of_each):
        for what, drawn in trials.items():
            if len(found[what]) < of_each and time.monotonic() < until and (outcome := next(drawn)()) is not None:
                found[what].append(outcome)
    return [_row(what, outcomes) for what, outcomes in found.items()]


def _row(what: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    wrong = [outcome.detail for outcome in outcomes if outcome.ended != "same" or not outcome.clear]
    ended = {name: sum(outcome.ended == name for outcome in outcomes) for name in ("same", "otherwise", "failed")}
    row = {"what": what, "tried": len(outcomes), **ended, "unclear": sum(not outcome.clear for outcome in outcomes)}
    return row | ({"note": "\n".join(wrong)[:6000]} if wrong else {})


def run_signals(
    until: float, seed: int, calm: Calm, commands: Sequence[Command] = COMMANDS, of_each: int = OF_EACH
) -> list[dict[str, Any]]:
    """Rows of commands that a signal stops at any moment of their own work."""
    trials: dict[str, Iterator[Callable[[], Outcome | None]]] = {}
    for command in commands:
        for number in SIGNALS:
            draw = random.Random(f"{seed} {command.name} {number}")
            trials[f"{command.name} × {number.name}"] = _at_random(calm, command, number, draw, 1)
    return run_trials(trials, of_each, until)


def run_steps(
    until: float, seed: int, calm: Calm, commands: Sequence[Command] = COMMANDS, of_each: int = OF_EACH
) -> list[dict[str, Any]]:
    """Rows of commands that are killed three times, or between two steps of the disk, or whose disk is full there."""
    trials: dict[str, Iterator[Callable[[], Outcome | None]]] = {}
    for command in commands:
        draw = random.Random(f"{seed} {command.name}")
        trials[f"{command.name} × three SIGKILL in a row"] = _at_random(calm, command, signal.SIGKILL, draw, 3)
        for how, name in _BREAKS.items():
            trials[f"{command.name} × {name}"] = _at_steps(calm, command, how, random.Random(f"{seed} {how}"))
    return run_trials(trials, of_each, until)


def _at_random(
    calm: Calm, command: Command, number: signal.Signals, draw: random.Random, kills: int
) -> Iterator[Callable[[], Outcome | None]]:
    while True:
        shares = [draw.random() for _ in range(kills)]
        yield lambda shares=shares: stopped_at(calm, command, number, shares)  # type: ignore[misc]


def _at_steps(calm: Calm, command: Command, how: How, draw: random.Random) -> Iterator[Callable[[], Outcome | None]]:
    while True:
        share = draw.random()
        yield lambda share=share: broken_at(calm, command, how, int(share * calm.of(command)[2]))  # type: ignore[misc]


def run_started(until: float, seed: int, calm: Calm, of_each: int = OF_EACH) -> list[dict[str, Any]]:
    """Rows of commands that are stopped in their first second, as a user starts them."""
    trials = {}
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
    moments of each where that is too little, which `tried` says.
    """
    begin = time.monotonic()
    # in memory where there is such a place: it is processes that are killed, not the machine
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as place:
        calm = Calm(Path(place) / "trials")
        return [
            *run_signals(begin + 0.8 * budget_s, seed, calm),
            *run_started(begin + 0.91 * budget_s, seed, calm),
            *run_steps(begin + budget_s, seed, calm),
        ]
