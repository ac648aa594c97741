"""Tokens a second of a real chat model on this machine: precision, threads and tokens a batch.

    python benchmarks/speed/chat_model.py MODEL [--rows 24]

MODEL is a folder, such as ../shared/models/real_model.py makes. Each way goes once over rows of the real pool: plain
forward and backward passes, which is what tuning takes, and extraction with both Γ forms at r 32. What the long runs of
quality/real.py use is chosen from this. Writes benchmarks/results/chat_model-NAME.json.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from common.measure import Figure, keep, seconds
from common.sample import floor, load, make_extractor
from g2is.config import GradientsConfig

THREADS, DTYPES, BATCH_TOKENS = (1, 2), (torch.float32, torch.bfloat16), (256, 1024, 4096)
RANK = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=24)
    given = parser.parse_args()
    figures, ways = [], {}
    for dtype in DTYPES:
        model, rows, moments = load(True, RANK, given.rows, model_folder=given.model)
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)
        num_tokens = sum(len(ids) for ids, _ in rows)
        for threads, batch_tokens in product(THREADS, BATCH_TOKENS):
            torch.set_num_threads(threads)
            extractor = make_extractor(model, moments, batch_tokens)
            floor(model, rows[:2], batch_tokens)  # every first-time cost
            keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)
            plain = num_tokens / seconds(partial(floor, model, rows, batch_tokens))
            ours = num_tokens / seconds(partial(extractor.extract, rows, keys, GradientsConfig().forms))
            name = f"{str(dtype).removeprefix('torch.')}, {threads} threads, batches of {batch_tokens} tokens"
            ways[name] = {"plain": round(plain), "extraction": round(ours)}
            figures.append(Figure(f"{name}: plain passes, tokens a second", round(plain), None, False))
            figures.append(Figure(f"{name}: extraction, tokens a second", round(ours), None, False))
            print(name, ways[name], flush=True)
    name = f"chat_model-{given.model.name}"
    keep(name, False, f"speed/chat_model.py {given.model.name}", figures, {"rows": given.rows, "ways": ways})


if __name__ == "__main__":
    main()
