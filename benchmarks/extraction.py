"""Extraction over its floor: plain batched forward and backward of the same model, adapter, rows and token budget.

    python benchmarks/extraction.py [--small] [--shared] [--rank 128]

The floor goes through transformers with its own loss. Prints, and writes benchmarks/results/extraction-NAME.json: the
median of the ratios of alternating runs, with their spread. Goal (issue 5): at most 1.15 at r 16, 1.30 at r 128.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from g2is.config import ProjectionConfig
from g2is.environment import environment
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.projection import Projection
from g2is.model.batches import pad_batch, plan_batches
from g2is.model.parameters import trainable_parameters
from sample import Row, load


def floor(model: PeftModel, rows: list[Row], batch_tokens: int) -> None:
    for chosen in plan_batches(np.array([len(ids) for ids, _ in rows]), batch_tokens):
        batch = pad_batch([rows[i] for i in chosen])
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
        model.zero_grad()


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer rows: under a minute")
    parser.add_argument("--shared", action="store_true", help="base6m and the real pool instead of the bundled sample")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    arguments = parser.parse_args()
    model, rows, moments = load(arguments.shared, arguments.rank, 96 if arguments.small else 384)
    parameters = trainable_parameters(model)
    projection = Projection(ProjectionConfig(), {name: p.numel() for name, p in parameters.items()})
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)
    extractor = Extractor(model, {"epoch-1": state}, projection, arguments.batch_tokens, print)
    keys = np.zeros((len(rows), 16), np.uint8)
    num_tokens = sum(len(ids) for ids, _ in rows)
    extractor.extract(rows[:8], keys[:8], ["less"])  # the check of batching, and every first-time cost
    floor(model, rows[:8], arguments.batch_tokens)
    pairs = [
        (
            seconds(lambda: floor(model, rows, arguments.batch_tokens)),
            seconds(lambda: extractor.extract(rows, keys, ["less"])),
        )
        for _ in range(5)
    ]
    ratios = sorted(ours / plain for plain, ours in pairs)
    name = ("shared" if arguments.shared else "sample") + f"-r{arguments.rank}"
    result = {
        "model": "base6m" if arguments.shared else "bundled",
        "rank": arguments.rank,
        "rows": len(rows),
        "tokens": num_tokens,
        "threads": torch.get_num_threads(),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
        "tokens_per_second": round(num_tokens / statistics.median(ours for _, ours in pairs)),
        "machine": environment(),
    }
    place = Path(__file__).parent / "results" / f"extraction-{name}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"extraction / (forward + backward), {name}: {result['ratio_median']} {result['ratio_range']};"
        f" {result['tokens_per_second']} tokens/s"
    )


if __name__ == "__main__":
    main()
