"""Extraction with frozen weights rounded to 4 or 8 bits, over that with the same weights in bfloat16.

    python benchmarks/speed/rounded.py [nf4 int8] [--like 8b] [--rank 16] [--shared] [--small] [--device cuda]
    python benchmarks/speed/rounded.py nf4 int8 --like 70b-block --device cuda --work DIR

Models are of random weights, made from a configuration into a folder (8B: 16 GB; below DIR, where the next run finds
it) and loaded from there as `g2is` does, once as they are and once with `model.quantization`. Adapter, rows, moments
and token budget are the same. Extraction is whole: both Γ forms, projection to 8192, unit rows, storing. Both models
are held at once and run in turn. On a CUDA device batches that do not fit are halved, and that is noted.

Beside the ratio of seconds are told: what the frozen weights take, and the most that extraction holds (on a CUDA device
alone, whose allocator tells it), each over what `g2is plan` counts; and the cosines of rows with those in bfloat16.
Random weights say little of how near rows of a real model are. Of one block of a 70B it is worked out what its 80 take.

Expected before it was measured: 1.1 to 1.5 times as long, for weights are read back three times a batch. There is no
goal for that; memory is to be within 10 % of what is counted. Writes benchmarks/results/rounded-NAME.json after each
kind, so that one which fails or is stopped leaves the others.
"""

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from common.goals import COUNTED_MEMORY
from common.measure import GIB, Figure, alternate, keep, median, ratio
from common.sample import adapted, make_extractor, moments_of, parser, read_rows, stored, tokenizer_folder
from common.shapes import BLOCKS_OF_70B, add_like, folder_of, forget, kind_of_shape, name_of_shape
from g2is.config import ExecutionConfig, GradientsConfig, ModelConfig, Quantization
from g2is.gradients.extract import Extractor
from g2is.jobs.memory_needed import Knobs, peaks
from g2is.model.batches import Row
from g2is.model.folder import ModelFolder, find_model
from g2is.model.parameters import trainable_parameters
from g2is.model.shape import ModelShape, shape_of

KINDS: tuple[Quantization, ...] = ("nf4", "int8")
TIMES = 3
FORMS = GradientsConfig().forms
FORM = FORMS[0]


@dataclass(frozen=True)
class Side:
    """A model ready to extract: bytes of its frozen weights; of the first extraction the `peak`, None without CUDA."""

    folder: ModelFolder
    model: PeftModel
    extractor: Extractor
    rows: np.ndarray  # (n, k) float32, of one form
    weights: int
    peak: int | None

    @property
    def kind(self) -> str:
        return self.folder.config.quantization or "bfloat16"


def held_bytes(model: torch.nn.Module) -> int:
    """Bytes of all that `model` holds: parameters, buffers, and what bitsandbytes keeps beside its weights."""
    tensors = [*model.parameters(), *model.buffers()]
    for parameter in model.parameters():
        state: Any = getattr(parameter, "quant_state", None)
        while state is not None:  # of NF4: scales, and of those again
            tensors += [of for of in vars(state).values() if isinstance(of, torch.Tensor)]
            state = getattr(state, "state2", None)
        if isinstance(scales := getattr(parameter, "SCB", None), torch.Tensor):
            tensors.append(scales)
    storages = {of.untyped_storage().data_ptr(): of.untyped_storage().nbytes() for of in tensors}
    return sum(storages.values())


def allocated() -> int:
    """Bytes that tensors hold on the CUDA device; 0 without one."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def extract(extractor: Extractor, rows: list[Row]) -> np.ndarray:
    """Extract and store `rows`; what was stored of one form, in their order, (n, k) float32."""
    with stored(extractor, rows, FORMS) as (table, keys):
        return table.read(f"c/{FORM}/rows", table.positions_of(keys)).astype(np.float32)


def ready(folder: ModelFolder, device: torch.device, rank: int, rows: list[Row], like: PeftModel | None) -> Side:
    """Load, adapt as `like` is, and extract once, which every first-time cost goes into."""
    before = allocated()
    base = folder.load(device)
    weights = held_bytes(base)
    model = adapted(base, rank)
    if like is not None:
        parameters, same = trainable_parameters(model), trainable_parameters(like)
        for name, parameter in parameters.items():
            parameter.data.copy_(same[name].data)
    budget = ExecutionConfig().tokens_a_batch(device.type)
    extractor = make_extractor(model, moments_of(model), budget)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    found = extract(extractor, rows)
    peak = torch.cuda.max_memory_allocated() - before if device.type == "cuda" else None
    return Side(folder, model, extractor, found, weights, peak)


def shape_with(side: Side) -> ModelShape:
    """The shape that `g2is plan` counts with."""
    adapter = {name: tuple(of.shape) for name, of in trainable_parameters(side.model).items()}
    return shape_of(side.folder.without_weights(), side.folder.num_embeddings or 0).with_trained(adapter)


def counted(side: Side, rank: int, rows: list[Row], device: torch.device) -> dict[str, int]:
    """Bytes that `g2is plan` counts: of frozen weights, and at the peak of extraction."""
    shape, lengths = shape_with(side), np.array([len(ids) for ids, _ in rows])
    kind = side.folder.config.quantization
    weights = side.folder.num_bytes(shape.parameters, device)
    tokens = min([ExecutionConfig().tokens_a_batch(device.type), *(of["tokens"] // 2 for of in side.extractor.splits)])
    knobs = Knobs(
        dtype="bfloat16",
        batch_tokens=tokens,
        device_batch_size=1,
        max_length=int(lengths.max()),
        rank=rank,
        shards=[lengths],
        longest=int(lengths.max()),
        dropout=False,
        num_checkpoints=1,
        trains=False,
        device_type=device.type,
        rounded=None if kind is None else (kind, weights),
    )
    (peak,) = peaks(shape, knobs)
    return {"weights": weights, "peak": peak.num_bytes}


def of_all_blocks(side: Side) -> float:
    """GiB that a 70B's weights would take, if each of its blocks takes what was measured of one."""
    block = held_bytes(side.model.get_base_model().model.layers)
    adapters = sum(of.numel() * of.element_size() for of in trainable_parameters(side.model).values())
    return round((side.weights + (BLOCKS_OF_70B - 1) * (block - adapters)) / GIB, 2)


def memory_figures(side: Side, expected: dict[str, int], where: str) -> list[Figure]:
    """Measured over counted, of weights and, where it was measured, of the peak."""
    measured = {"weights": side.weights} | ({} if side.peak is None else {"peak": side.peak})
    return [
        Figure(
            f"{'frozen weights' if name == 'weights' else 'peak of extraction'} over what g2is plan counts: {where}",
            round(found / expected[name], 4),
            *(COUNTED_MEMORY, True, "x"),
            note=f"{found / GIB:.3g} GiB, {expected[name] / GIB:.3g} counted",
        )
        for name, found in measured.items()
    ]


def told(side: Side, given: argparse.Namespace, rows: list[Row]) -> tuple[list[Figure], dict[str, Any]]:
    """Figures of what a side holds, and what they were made of."""
    device = torch.device(given.device)
    expected, where = counted(side, given.rank, rows, device), described(side, given)
    figures = memory_figures(side, expected, where)
    if given.like == "70b-block":
        figures.append(
            Figure(f"weights of {BLOCKS_OF_70B} such blocks: {where}", of_all_blocks(side), None, True, " GiB")
        )
    measured = {"weights": side.weights, "peak": side.peak or "not measured: no CUDA device"}
    return figures, {"counted_bytes": expected, "measured_bytes": measured, "splits": side.extractor.splits}


def described(side: Side, given: argparse.Namespace) -> str:
    device = torch.device(given.device)
    return f"{side.kind}, {name_of_shape(given.like, device)}, r {given.rank}, {device.type}"


def compare(plain: Side, side: Side, given: argparse.Namespace, rows: list[Row]) -> tuple[list[Figure], dict[str, Any]]:
    """Figures of a kind of rounding beside bfloat16, and what they were made of."""
    ours, theirs = alternate([partial(extract, of.extractor, rows) for of in (side, plain)], TIMES)
    value, spread = ratio(ours, theirs)
    splits = [*side.extractor.splits, *plain.extractor.splits]
    rate = sum(len(ids) for ids, _ in rows) / median(ours)
    note = f"{rate:,.0f} tokens/s" + (f"; batches did not fit: {splits}" if splits else "")
    cosines = (side.rows * plain.rows).sum(1)
    lowest, where = round(float(cosines.min()), 4), described(side, given)
    figures = [
        Figure(f"extraction, rounded over bfloat16: {where}", value, None, True, "x", spread, note),
        Figure(f"lowest cosine with bfloat16: {where}", lowest, None, False, note=f"mean {cosines.mean():.4f}"),
    ]
    more, details = told(side, given, rows)
    details["seconds"] = {"rounded": median(ours), "bfloat16": median(theirs)}
    return [*figures, *more], details


def main() -> None:
    command_line = parser(__doc__, "16 rows in place of 128")
    command_line.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    add_like(command_line, default="8b")
    command_line.add_argument("--rank", type=int, default=16)
    command_line.add_argument("--device", default="cpu")
    command_line.add_argument("--work", type=Path, help="folder that keeps the model; default: a temporary one")
    given = command_line.parse_args()
    kinds = given.kinds or list(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        command_line.error(f"KIND: expected some of {', '.join(KINDS)}, found {', '.join(unknown)}")
    device, tokenizer = torch.device(given.device), tokenizer_folder(given.shared)
    with tempfile.TemporaryDirectory() as scratch:
        place = folder_of(given.like, device, given.work or Path(scratch), tokenizer)
        config = ModelConfig(name=str(place), dtype="bfloat16")
        folder = find_model(config)
        rows = read_rows(given.shared, 16 if given.small else 128, folder)
        plain = ready(folder, device, given.rank, rows, like=None)
        figures, details = told(plain, given, rows)
        kept = {"rows": len(rows), "tokens": sum(len(ids) for ids, _ in rows), "bfloat16": details}
        name = f"rounded-{kind_of_shape(given.like, device)}-{'-'.join(kinds)}"
        command = f"rounded.py {' '.join(kinds)} --like {given.like} --rank {given.rank} --device {given.device}"
        for kind in kinds:
            rounded = find_model(config.model_copy(update={"quantization": kind}))
            side = ready(rounded, device, given.rank, rows, plain.model)
            found, kept[kind] = compare(plain, side, given, rows)
            figures += found
            keep(f"{name}{'' if device.type == 'cpu' else '-cuda'}", given.small, f"speed/{command}", figures, kept)
            del side
            forget()  # before the next is loaded


if __name__ == "__main__":
    main()
