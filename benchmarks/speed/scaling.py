"""Hours, disk and memory for large models and pools: the cost model of docs/scaling.md, filled with measured rates.

    python benchmarks/speed/scaling.py

Nothing is run. Measured on this project's CPU machine, read from benchmarks/results: extraction over plain forward and
backward (extraction-shared-r128.json), and how fast a selection goes through the pool (walk-large.json). Assumed, and
said so: accelerators, what share of their peak a frozen model's forward and backward reach, tokens an example, and that
shards are dealt to accelerators without loss, as no engine for several devices does yet. Prints Markdown.
"""

import json
from dataclasses import dataclass
from typing import Any

from common.places import RESULTS

PEAK_FLOPS = 989e12  # an H100 SXM in bfloat16, dense
SHARE_OF_PEAK = 0.35  # assumed: what training frameworks reach on such models
DEVICE_BYTES = 80e9
DEVICE_BANDWIDTH = 3.35e12
TOKENS_AN_EXAMPLE = 400  # assumed; the pool of the other benchmarks has 160
WARMUP_FRACTION, WARMUP_EPOCHS = 0.05, 4
RANK, K, NUM_FORMS, BUDGET = 128, 8192, 2, 0.01
POOLS = (300_000, 3_000_000, 30_000_000)
DEVICES = (1, 8, 64)


@dataclass(frozen=True)
class Model:
    """A Llama: parameters, layers, width of hidden states and of keys and values."""

    name: str
    num_parameters: float
    num_layers: int
    hidden: int
    keys: int

    @property
    def num_coordinates(self) -> int:
        """D: LoRA's A and B on the four attention projections of every layer."""
        sides = 2 * (self.hidden + self.hidden) + 2 * (self.hidden + self.keys)
        return self.num_layers * RANK * sides

    @property
    def devices_a_copy(self) -> int:
        """Accelerators that hold one copy of the weights in bfloat16, a fifth of their memory left for the rest."""
        return -(-int(2 * self.num_parameters) // int(0.8 * DEVICE_BYTES))


MODELS = (Model("8B", 8.03e9, 32, 4096, 1024), Model("70B", 70.6e9, 80, 8192, 1024))


def seconds_of_extraction(model: Model, num_rows: int, over_floor: float) -> float:
    """One accelerator's work: 4·P·T floating-point operations, times what extraction takes beyond that."""
    return 4 * model.num_parameters * TOKENS_AN_EXAMPLE * num_rows * over_floor / (PEAK_FLOPS * SHARE_OF_PEAK)


def seconds_of_warmup(model: Model, num_rows: int) -> float:
    """A LoRA training step costs what a gradient costs; it runs on one copy of the model."""
    return seconds_of_extraction(model, num_rows, 1.0) * WARMUP_FRACTION * WARMUP_EPOCHS


def read(name: str) -> dict[str, Any]:
    """A committed result."""
    found: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return found


def main() -> None:
    over_floor = max(1.0, read("extraction-shared-r128.json")["figures"][0]["value"])
    walk = read("walk-large.json")  # N 200,000, 1 %
    rate = 200_000 * walk["k"] * walk["large"]["num_selected"] / walk["figures"][0]["value"]  # multiply-adds a second
    print(
        f"Extraction over its floor {over_floor:.2f}; a walk goes through {rate / 1e9:.0f} G coordinates a second on 2"
        " cores."
    )
    print("\n| model | examples | tokens | warm-up | " + " | ".join(f"extraction on {n}" for n in DEVICES) + " |")
    print(f"|{'---|' * (4 + len(DEVICES))}")
    for model in MODELS:
        for num_rows in POOLS:
            total = seconds_of_extraction(model, num_rows, over_floor) / 3600
            # over several accelerators a copy works in turns: it is as fast as one
            copies = [n // model.devices_a_copy for n in DEVICES]
            on_devices = [f"{total / n:,.1f} h" if n else f"needs {model.devices_a_copy}" for n in copies]
            warmup = seconds_of_warmup(model, num_rows) / 3600
            tokens = num_rows * TOKENS_AN_EXAMPLE / 1e9
            print(f"| {model.name} | {num_rows / 1e6:g} M | {tokens:g} G | {warmup:.1f} h | {' | '.join(on_devices)} |")
    print(
        f"\n| examples | disk, {NUM_FORMS} forms | one form in memory | int8 | selecting 1 %, 2 cores"
        " | a pass a row, GPU |"
    )
    print(f"|{'---|' * 6}")
    for num_rows in POOLS:
        budget = int(BUDGET * num_rows)
        work = num_rows * K * budget
        sizes = [f"{size * num_rows * K / 1e9:,.0f} GB" for size in (2 * NUM_FORMS, 2, 1)]
        selecting = f"{work / rate / 3600:,.1f} h"
        reading = f"{2 * work / DEVICE_BANDWIDTH / 3600:,.2f} h"
        print(f"| {num_rows / 1e6:g} M | {' | '.join(sizes)} | {selecting} | {reading} |")
    for model in MODELS:
        print(
            f"\n{model.name}: D = {model.num_coordinates / 1e6:.0f} M coordinates at r {RANK};"
            f" {model.devices_a_copy} accelerator(s) a copy; Γ of one example {4e-9 * model.num_coordinates:.2f} GB,"
            f" of its largest module {4e-6 * RANK * model.hidden:.1f} MB"
        )


if __name__ == "__main__":
    main()
