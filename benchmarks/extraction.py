"""Extraction over its floor: plain batched forward and backward of the same model, adapter, rows and token budget.

    python benchmarks/extraction.py [--small] [--shared] [--rank 128] [--like-8b --device cuda]

The floor goes through transformers with its own loss. Extraction is all of it: both Γ forms that a store holds by
default, projection to 8192, unit rows, and storing them. Prints, and writes benchmarks/results/extraction-NAME.json:
the median of the ratios of alternating runs, with their spread. Goal (issue 5): at most 1.15 at r 16, 1.30 at r 128.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from g2is.config import ExecutionConfig, GradientsConfig, ProjectionConfig
from g2is.engine.local import run_shards
from g2is.environment import environment
from g2is.gradients.extract import AdapterState, Extractor
from g2is.gradients.projection import Projection
from g2is.model.batches import pad_batch, plan_batches
from g2is.model.parameters import trainable_parameters
from g2is.store.matrix import RowTable, Shard
from sample import Row, load


def floor(model: PeftModel, rows: list[Row], batch_tokens: int) -> None:
    for chosen in plan_batches(np.array([len(ids) for ids, _ in rows]), batch_tokens):
        batch = pad_batch([rows[i] for i in chosen], model.device)
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
        model.zero_grad()


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer rows: under a minute")
    parser.add_argument("--shared", action="store_true", help="base6m and the real pool instead of the bundled sample")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--like-8b", action="store_true", help="random weights in bfloat16, shaped as Llama-3.1-8B")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-tokens", type=int)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    batch_tokens = arguments.batch_tokens or ExecutionConfig().tokens_a_batch(device.type)
    num_rows = 64 if arguments.small else 256
    model, rows, moments = load(arguments.shared, arguments.rank, num_rows, arguments.device, arguments.like_8b)
    parameters = trainable_parameters(model)
    projection = Projection(ProjectionConfig(), {name: p.numel() for name, p in parameters.items()}, device)
    state = AdapterState({name: p.detach().clone() for name, p in parameters.items()}, moments)
    extractor = Extractor(model, {"epoch-1": state}, projection, batch_tokens, print)
    keys = np.arange(16 * len(rows), dtype=np.uint8).reshape(-1, 16)
    forms = GradientsConfig().forms
    num_tokens = sum(len(ids) for ids, _ in rows)

    def extract(place: Path) -> None:
        def work(chosen: np.ndarray) -> Shard:
            return extractor.extract([rows[i] for i in chosen], keys[chosen], forms)

        run_shards(work, np.arange(len(rows)), RowTable(place, "benchmark", shard_rows=len(rows)))

    extractor.extract(rows[:8], keys[:8], forms)  # the check of batching, and every first-time cost
    floor(model, rows[:8], batch_tokens)
    pairs = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "pool"
            plain = seconds(lambda: floor(model, rows, batch_tokens))
            pairs.append((plain, seconds(partial(extract, place))))
    ratios = sorted(ours / plain for plain, ours in pairs)
    kind = "8b" if arguments.like_8b else "shared" if arguments.shared else "sample"
    name = f"{kind}-r{arguments.rank}" + (f"-{device.type}" if device.type != "cpu" else "")
    result = {
        "model": "8B, random" if arguments.like_8b else "base6m" if arguments.shared else "bundled",
        "rank": arguments.rank,
        "rows": len(rows),
        "tokens": num_tokens,
        "batch_tokens": batch_tokens,
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
