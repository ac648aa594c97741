"""Extraction over what LESS does: one example at a time, autograd, Γ `less`, a dense Rademacher projection to 8192.

    python benchmarks/speed/less_loop.py [--small] [--shared] [--rank 16] [--device cuda]

The loop is LESS's as its script runs where its CUDA kernel is not installed: batches of one example through
transformers with its own loss, and every 16 gradients a product with ±1 signs, which are drawn anew in blocks of 128
directions because k x D of them rarely fit into memory. So that nobody can say that it was made slow on purpose, a
second loop keeps all signs in memory, where they fit. Both sides make Γ `less` of the same rows, adapter and dtype.
Writes benchmarks/results/less_loop-NAME.json. Goal (issue 5): at least 20 times as fast on a CPU.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from common.goals import LESS_LOOP
from common.measure import GIB, Figure, alternate, keep, median, ratio, seconds
from common.sample import load, make_extractor, parser
from g2is.config import ExecutionConfig
from g2is.gradients.gamma import gamma
from g2is.machine.memory import available_memory
from g2is.model.batches import Row, pad_batch
from g2is.model.parameters import trainable_parameters
from g2is.store.moments import Moments

K = 8192
INTERVAL = 16  # rows projected at once, and directions whose signs are drawn at once: LESS's numbers
DIRECTIONS = 128
TIMES = 5


class DenseSigns:
    """A dense Rademacher projection, its signs drawn for every call or `kept` in memory."""

    num = K // DIRECTIONS

    def __init__(self, num_coordinates: int, device: torch.device, kept: bool) -> None:
        self._shape, self._device = (num_coordinates, DIRECTIONS), device
        self._generator = torch.Generator(device)
        self._one = torch.empty(self._shape, device=device)
        self._kept = [self._draw(i, torch.empty(self._shape, device=device)) for i in range(self.num)] if kept else None

    def project(self, gradients: torch.Tensor) -> torch.Tensor:
        """(R, D) to (R, K)."""
        blocks = (self._draw(i, self._one) if self._kept is None else self._kept[i] for i in range(self.num))
        return torch.cat([gradients @ block for block in blocks], dim=1)

    def _draw(self, number: int, block: torch.Tensor) -> torch.Tensor:
        self._generator.manual_seed(number)
        return block.bernoulli_(0.5, generator=self._generator).mul_(2).sub_(1)


class Loop:
    """One example at a time; `seconds` are those spent on projecting."""

    def __init__(self, model: PeftModel, moments: Moments, rows: list[Row]) -> None:
        self._model, self._moments, self._rows = model, moments, rows
        self._parameters = trainable_parameters(model)
        self._device = next(model.parameters()).device
        self.seconds: list[float] = []

    def run(self, signs: DenseSigns) -> torch.Tensor:
        projected: list[torch.Tensor] = []
        self.seconds.append(0.0)
        for start in range(0, len(self._rows), INTERVAL):
            full = torch.stack([self._gradient(row) for row in self._rows[start : start + INTERVAL]])

            def project(full: torch.Tensor = full) -> None:
                projected.append(signs.project(full))

            self.seconds[-1] += seconds(project)
        return torch.nn.functional.normalize(torch.cat(projected).cpu())

    def _gradient(self, row: Row) -> torch.Tensor:
        batch = pad_batch([row], self._device)
        self._model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
        parts = []
        for name, parameter in self._parameters.items():
            assert parameter.grad is not None
            parts.append(gamma("less", parameter.grad.float().view(1, -1), name, self._moments)[0])
        self._model.zero_grad()
        return torch.cat(parts)


def largest_difference(ours: np.ndarray, loop: torch.Tensor) -> float:
    """Of the cosines of all pairs of rows: both projections keep them up to about 1/sqrt(K)."""
    rows = torch.from_numpy(ours).float()
    return float((rows @ rows.T - loop @ loop.T).abs().max())


def main() -> None:
    command_line = parser(__doc__, "16 rows in place of 64, three times in place of five: about a minute")
    command_line.add_argument("--rank", type=int, default=16)
    command_line.add_argument("--device", default="cpu")
    given = command_line.parse_args()
    device = torch.device(given.device)
    model, rows, moments = load(given.shared, given.rank, 16 if given.small else 64, given.device)
    batch_tokens = ExecutionConfig().tokens_a_batch(device.type)
    extractor = make_extractor(model, moments, batch_tokens)
    keys = np.zeros((len(rows), 16), np.uint8)
    num_coordinates = sum(p.numel() for p in trainable_parameters(model).values())
    fits = device.type == "cpu" and num_coordinates * K * 4 < 0.8 * available_memory()
    signs = {"drawn": DenseSigns(num_coordinates, device, kept=False)}
    if fits:
        signs["kept"] = DenseSigns(num_coordinates, device, kept=True)
    loops = {name: Loop(model, moments, rows) for name in signs}
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = extractor.extract(rows, keys, ["less"]).arrays["c/less/rows"]

    def of(name: str) -> Callable[[], object]:
        return lambda: found.update({name: loops[name].run(signs[name]).numpy()})

    ours()  # the check of batching, and every first-time cost
    Loop(model, moments, rows[:2]).run(signs["drawn"])
    times = dict(
        zip(
            ["ours", *signs], alternate([ours, *(of(name) for name in signs)], 3 if given.small else TIMES), strict=True
        )
    )
    difference = largest_difference(found["ours"], torch.from_numpy(found["drawn"]))
    if difference > 8 / K**0.5:
        raise SystemExit(f"rows of the loop and of extraction have cosines that differ by {difference:.3f}")
    what = (
        f"LESS's loop over extraction: {'base6m' if given.shared else 'bundled model'}, r {given.rank}, {device.type}"
    )
    factor, spread = ratio(times["drawn"], times["ours"])
    details: dict[str, Any] = {}
    note = "signs that are kept do not fit into memory"
    if fits:
        kept, of_kept = ratio(times["kept"], times["ours"])
        details["ratio_signs_kept_in_memory"] = {"median": kept, "range": of_kept}
        note = f"{kept:.3g}x were all {num_coordinates * K * 4 / GIB:.1f} GiB of signs kept in memory"
    figures = [Figure(what, factor, LESS_LOOP if device.type == "cpu" else None, False, "x", spread, note)]
    keep(
        f"less_loop-{'shared' if given.shared else 'sample'}-r{given.rank}{'' if device.type == 'cpu' else '-cuda'}",
        given.small,
        f"speed/less_loop.py{' --shared' if given.shared else ''} --rank {given.rank} --device {given.device}",
        figures,
        {
            "rows": len(rows),
            "tokens": sum(len(ids) for ids, _ in rows),
            "threads": torch.get_num_threads(),
            "batch_tokens": batch_tokens,
            "coordinates": num_coordinates,
            "gib_of_signs": round(num_coordinates * K * 4 / GIB, 1),
            "seconds_per_row": {name: round(median(of_name) / len(rows), 5) for name, of_name in times.items()},
            "seconds_per_row_projecting": {
                name: round(median(loop.seconds) / len(rows), 5) for name, loop in loops.items()
            },
            "largest_cosine_difference": round(difference, 4),
            **details,
        },
    )


if __name__ == "__main__":
    main()
