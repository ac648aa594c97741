"""What benchmarks share: runs in turn, medians with their range, peak memory, and figures beside goals as JSON."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from common.places import RESULTS
from g2is.config import ExecutionConfig
from g2is.machine.environment import environment

BATCH_TOKENS = ExecutionConfig().tokens_a_batch("cpu")  # the default
GIB = 2**30
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Figure:
    """One measured number beside its goal: `value` is to be at most, or at least, `goal`, if there is one."""

    what: str
    value: float
    goal: float | None
    at_most: bool
    unit: str = ""
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def line(self) -> str:
        spread = "" if self.spread is None else f" [{self.spread[0]:.3g}, {self.spread[1]:.3g}]"
        goal = "" if self.goal is None else f", goal {'≤' if self.at_most else '≥'} {self.goal:g}{self.unit}"
        verdict = {True: ": met", False: ": missed", None: ""}[self.met]
        note = f" ({self.note})" if self.note else ""
        return f"{self.what}: {self.value:.3g}{self.unit}{spread}{goal}{verdict}{note}"


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # what is under way on a device is part of the work
    return time.perf_counter() - begin


def alternate(works: Sequence[Callable[[], object]], times: int) -> list[list[float]]:
    """Seconds of each of `works`, all run in turn, `times` times: a list of `times` for each."""
    rounds = [[seconds(work) for work in works] for _ in range(times)]
    return [list(of_work) for of_work in zip(*rounds, strict=True)]


def ratio(over: Sequence[float], under: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Median and range of the ratios of runs made in turn."""
    ratios = sorted(a / b for a, b in zip(over, under, strict=True))
    return round(statistics.median(ratios), 4), (round(ratios[0], 4), round(ratios[-1], 4))


def median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 4)


def extent(values: Sequence[float]) -> tuple[float, float]:
    return round(min(values), 4), round(max(values), 4)


def result_path(name: str, small: bool) -> Path:
    """Small versions have files of their own: their figures are not those of the full ones."""
    return RESULTS / f"{name}{'-small' if small else ''}.json"


def keep(name: str, small: bool, command: str, figures: Sequence[Figure], details: dict[str, Any]) -> None:
    """Write the figures with what they were made of to results/NAME.json, and print a line for each."""
    place = result_path(name, small)
    place.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "command": f"python benchmarks/{command}{' --small' if small else ''}",
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
        **details,
        "machine": machine(),
    }
    place.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for figure in figures:
        print(figure.line(), flush=True)


def machine() -> dict[str, object]:
    """Processor, memory and versions, and the CUDA device if there is one."""
    if not torch.cuda.is_available():
        return environment()
    card = torch.cuda.get_device_properties(0)
    return {
        **environment(),
        "card": card.name,
        "card_memory_gib": round(card.total_memory / GIB, 1),
        "cuda": torch.version.cuda,
    }


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that it held since `reset_peak`, or since it began."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Let `peak` begin anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
