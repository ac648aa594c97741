"""Whether extraction takes time in proportion to tokens: seconds a token, stored, over growing parts of one pool.

    python benchmarks/speed/growth.py [--small] [--full] [--shared] [--rank 16]

2,500, 5,000 and 10,000 rows (about 12 minutes on 2 cores), 10,000 before and after 37,000 with --full (about 30), 100,
200 and 400 three times in turn with --small. Shards are stored as `g2is select` stores them. That the machine itself is
not faster or slower for half an hour shows in the rates of single shards, which are kept. Writes
benchmarks/results/growth-NAME.json. Goal (issue 5): seconds a token within 10 %.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from common.measure import BATCH_TOKENS, Figure, alternate, keep, median
from common.sample import load, make_extractor, parser, store_shards
from g2is.config import GammaForm
from g2is.engine.job import ShardJob
from g2is.model.batches import Row
from g2is.store.matrix import RowTable, Shard

FORMS: tuple[GammaForm, ...] = ("momentum-free", "less")


def main() -> None:
    command_line = parser(__doc__, "up to 400 rows: about a minute")
    command_line.add_argument("--full", action="store_true", help="10,000 and 37,000 rows")
    command_line.add_argument("--rank", type=int, default=16)
    given = command_line.parse_args()
    sizes = [10_000, 37_000, 10_000] if given.full else [2_500, 5_000, 10_000]
    if given.small or not given.shared:
        sizes = [100, 200, 400]
    shard_rows = min(1024, sizes[0])
    model, in_order, moments = load(given.shared, given.rank, max(sizes))
    rows = [in_order[i] for i in np.random.default_rng(1).permutation(len(in_order))]
    extractor = make_extractor(model, moments, BATCH_TOKENS)
    keys = np.random.default_rng(0).integers(0, 256, (len(rows), 16), np.uint8)

    of_shards: dict[int, list[float]] = {}  # microseconds a token of each shard, by the size it is of

    def extract(job: ShardJob, token_rows: list[Row], size: int) -> Shard:
        begin = time.perf_counter()
        made = extractor.extract(token_rows, keys[list(job.rows)], FORMS)
        took = (time.perf_counter() - begin) / sum(len(ids) for ids, _ in token_rows)
        of_shards.setdefault(size, []).append(round(1e6 * took, 1))
        return made

    def store(size: int) -> Callable[[], object]:
        def work() -> None:
            with tempfile.TemporaryDirectory() as scratch:
                table = RowTable(Path(scratch) / "pool", "-", shard_rows)
                store_shards(rows, partial(extract, size=size), keys[:size], table)

        return work

    store(32)()  # the check of batching, and every first-time cost
    of_shards.clear()
    times = alternate([store(size) for size in sizes], 3 if max(sizes) <= 400 else 1)
    tokens = [sum(len(ids) for ids, _ in rows[:size]) for size in sizes]
    rates = [median(of_size) / num_tokens for of_size, num_tokens in zip(times, tokens, strict=True)]
    smallest = float(np.mean([rate for rate, size in zip(rates, sizes, strict=True) if size == min(sizes)]))
    deviation = max(abs(rate / smallest - 1) for rate, size in zip(rates, sizes, strict=True) if size > min(sizes))
    name = "shared" if given.shared else "sample"
    figure = Figure(
        f"seconds a token at {', '.join(f'{size:,}' for size in sorted(set(sizes)))} rows differ by",
        *(round(100 * deviation, 1), 10, True, "%"),
        note=f"{name}, r {given.rank}",
    )
    keep(
        f"growth-{name}-r{given.rank}{'-full' if given.full else ''}",
        given.small,
        f"speed/growth.py{' --full' if given.full else ''}{' --shared' if given.shared else ''} --rank {given.rank}",
        [figure],
        {
            "rows": sizes,
            "tokens": tokens,
            "shard_rows": shard_rows,
            "batch_tokens": BATCH_TOKENS,
            "threads": torch.get_num_threads(),
            "seconds": times,
            "microseconds_a_token": [round(1e6 * rate, 2) for rate in rates],
            "microseconds_a_token_of_shards": of_shards,
        },
    )


if __name__ == "__main__":
    main()
