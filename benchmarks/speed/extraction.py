"""Extraction over its floor: plain batched forward and backward of the same model, adapter, rows and token budget.

    python benchmarks/speed/extraction.py [--small] [--shared] [--rank 128] [--like 8b --device cuda]

The floor goes through transformers with its own loss. Extraction is all of it: both Γ forms that a store holds by
default, projection to 8192, unit rows, and storing them. On a CUDA device both go over all rows once before anything is
timed, which compiles Γ (`seconds_first`), and if a batch does not fit there, both get batches of half as many tokens.
Writes benchmarks/results/extraction-NAME.json. Goals (issue 5): at most 1.15 at r 16, 1.30 at r 128, 1.10 on CUDA.
"""

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from common.goals import EXTRACTION, EXTRACTION_ON_CUDA, TOKENS_A_SECOND_8B
from common.measure import Figure, extent, keep, median, ratio, seconds
from common.sample import floor, kind_of, load, make_extractor, name_of, parser, store_gradients
from common.shapes import add_like
from g2is.config import ExecutionConfig, GradientsConfig
from g2is.errors import tells_of_memory
from g2is.gradients.extract import Extractor
from g2is.model.batches import Row
from g2is.store.matrix import RowTable
from g2is.store.moments import Moments

TIMES = 5
FORMS = GradientsConfig().forms


@dataclass(frozen=True)
class Case:
    """What is timed: a model with its adapter's moments, and rows."""

    model: PeftModel
    moments: Moments
    rows: list[Row]

    def plain(self, batch_tokens: int) -> float:
        """Seconds of plain passes."""
        return seconds(partial(floor, self.model, self.rows, batch_tokens))

    def extract(self, extractor: Extractor) -> float:
        """Seconds of extracting and storing."""
        keys = np.random.default_rng(0).integers(0, 256, (len(self.rows), 16), np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            table = RowTable(Path(folder) / "pool", "-", shard_rows=len(self.rows))
            return seconds(partial(store_gradients, extractor, self.rows, keys, FORMS, table))


def ready(case: Case, batch_tokens: int, notices: list[str]) -> tuple[Extractor, int, dict[str, float]]:
    """An extractor that has seen all rows, the tokens of a batch that fits, and what the first pass of each took."""
    while True:
        notices.clear()
        extractor = make_extractor(case.model, case.moments, batch_tokens, notice=notices.append)
        if (plain := plain_if_it_fits(case, batch_tokens)) is not None:
            ours = case.extract(extractor)
            if not extractor.splits:
                return extractor, batch_tokens, {"plain": round(plain, 2), "ours": round(ours, 2)}
        if batch_tokens < max(len(ids) for ids, _ in case.rows):
            raise SystemExit("expected memory for one row at a time, found too little on the device")
        print(f"batches of {batch_tokens} tokens do not fit on the device: half as many", flush=True)
        case.model.zero_grad()
        torch.cuda.empty_cache()
        batch_tokens //= 2


def plain_if_it_fits(case: Case, batch_tokens: int) -> float | None:
    try:
        return case.plain(batch_tokens)
    except Exception as error:
        if not tells_of_memory(error):
            raise
        return None


def command_of(given: argparse.Namespace) -> str:
    options = [*(["--shared"] if given.shared else []), *(["--like", given.like] if given.like else [])]
    return " ".join(["speed/extraction.py", *options, f"--rank {given.rank} --device {given.device}"])


def main() -> None:
    command_line = parser(__doc__, "fewer rows: under a minute")
    command_line.add_argument("--rank", type=int, default=16)
    add_like(command_line)
    command_line.add_argument("--device", default="cpu")
    command_line.add_argument("--batch-tokens", type=int)
    given = command_line.parse_args()
    device = torch.device(given.device)
    batch_tokens = given.batch_tokens or ExecutionConfig().tokens_a_batch(device.type)
    num_rows = 64 if given.small else 256
    if given.like and given.small and device.type == "cpu":
        num_rows = 16  # to see that it works
    model, rows, moments = load(given.shared, given.rank, num_rows, given.device, given.like)
    case = Case(model, moments, rows)
    first, notices = dict[str, float](), list[str]()
    if device.type == "cuda":
        extractor, batch_tokens, first = ready(case, batch_tokens, notices)
    else:
        extractor = make_extractor(model, moments, batch_tokens, notice=notices.append)
        extractor.extract(rows[:8], np.zeros((8, 16), np.uint8), FORMS)  # every first-time cost
        floor(model, rows[:8], batch_tokens)
    turns: list[tuple[float, float]] = []
    for _ in range(TIMES):
        turns.append((case.plain(batch_tokens), case.extract(extractor)))
        keep_turns(given, device, rows, batch_tokens, turns, first, notices)  # a lent device may be taken back


def keep_turns(
    given: argparse.Namespace,
    device: torch.device,
    rows: list[Row],
    batch_tokens: int,
    turns: list[tuple[float, float]],
    first: dict[str, float],
    notices: list[str],
) -> None:
    """Keep the figures of the turns so far: seconds of plain passes and of ours, each."""
    plain, ours = [turn[0] for turn in turns], [turn[1] for turn in turns]
    value, spread = ratio(ours, plain)
    num_tokens = sum(len(ids) for ids, _ in rows)
    rates = [num_tokens / taken for taken in ours]
    kind = kind_of(given.shared, given.like, device)
    where = f"{name_of(given.shared, given.like, device)}, r {given.rank}, {device.type}"
    goal = EXTRACTION_ON_CUDA if device.type == "cuda" else EXTRACTION.get(given.rank, max(EXTRACTION.values()))
    note = "; ".join([f"{median(rates):,.0f} tokens/s", *notices])  # a fallback is no small thing for a figure
    figures = [Figure(f"extraction over plain passes: {where}", value, goal, True, "x", spread, note)]
    if kind == "8b":
        whole = [round(rate) for rate in rates]
        what, note = f"extraction, tokens a second: {where}", f"batches of {batch_tokens} tokens"
        figures.append(Figure(what, median(whole), TOKENS_A_SECOND_8B, False, "", extent(whole), note))
    keep(
        f"extraction-{kind}-r{given.rank}{'' if device.type == 'cpu' else f'-{device.type}'}",
        given.small,
        command_of(given),
        figures,
        {
            "rows": len(rows),
            "tokens": num_tokens,
            "batch_tokens": batch_tokens,
            "threads": torch.get_num_threads(),
            "seconds": {"plain": median(plain), "ours": median(ours)},
            "seconds_first": first,
            "notices": notices,
        },
    )


if __name__ == "__main__":
    main()
