"""How much memory a run takes at its peaks, by arithmetic on the model's shape; and with which settings it would fit.

Nothing is loaded. s is the bytes of a frozen weight (2 in 16 bits, 4 in float32), D the adapter's coordinates, V the
vocabulary, T the padded tokens of the largest batch. Of a token's activations the blocks keep, until the backward pass:

    s x widths            inputs and outputs of linear layers (`model/shape.py`), norms and attention as part of them
    4 x adapted ranks     what passes through the middle of the adapters, in float32
    4 x adapted inputs    what PEFT copies to float32 for the adapters, where weights have 16 bits
    5 x adapted inputs    in its place while training with dropout: what is left of the inputs, and a mask of a byte;
                          8 on a CPU, whose mask is float32

Logits are held in the weights' type, in float32, and as their gradient: (s + 8) x T x V.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from g2is.model.batches import plan_batches
from g2is.model.shape import ModelShape

SPARE = 1.1  # times what is counted must fit, as in `machine/memory.py`: allocators, libraries, fragments
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_GAMMA_COPIES = 3  # of a module's per-example gradients at a time: themselves, a numerator, a denominator
_SHORTEST_BATCH, _SHORTEST_ROW, _LOWEST_RANK = 512, 512, 16
_MOST_DEVICES = 4096
_SPREAD = "model.device_map"


@dataclass(frozen=True)
class Part:
    """A part of what is held: what it is, how its bytes are counted; `shared` if blocks on several devices share it."""

    name: str
    arithmetic: str
    num_bytes: int
    shared: bool = True


@dataclass(frozen=True)
class Peak:
    """What is held at once, at most, while a `stage` works."""

    stage: str
    parts: Sequence[Part]

    @property
    def num_bytes(self) -> int:
        """All of it."""
        return sum(part.num_bytes for part in self.parts)

    def on_each_of(self, devices: int) -> int:
        """Bytes of the fullest of so many devices, among which the blocks are dealt evenly."""
        shared = sum(part.num_bytes for part in self.parts if part.shared)
        return -(-shared // devices) + self.num_bytes - shared


@dataclass(frozen=True)
class Knobs:
    """The settings that decide how much memory is taken, by the names that they have in config.yaml.

    `lengths` (R,) int are the tokens of a shard's rows that stand for the pool, `longest` those of its longest row.
    `rank` is None of an adapter that the user brings, which is not trained either. `dropout` says whether there is any.
    `rounded` are the kind of rounding and the bytes of the frozen weights, where they are rounded as they are loaded.
    """

    dtype: str
    batch_tokens: int
    device_batch_size: int
    max_length: int
    rank: int | None
    lengths: np.ndarray
    longest: int
    dropout: bool
    num_checkpoints: int
    trains: bool
    extracts: bool = True
    device_type: str = "cuda"
    rounded: tuple[str, int] | None = None


@dataclass(frozen=True)
class Fit:
    """Whether a device of `memory_bytes` holds a copy of the model and its work, of which `needed_bytes` at most.

    If not, `settings` are those with which it would, by name; none where no setting helps. `devices_a_copy` is the
    fewest devices that would hold a copy, its blocks dealt evenly among them, with the smallest batches, which are
    those of `spread_settings`; 0 if none. On a CPU there are no such settings.
    """

    fits: bool
    memory_bytes: int
    needed_bytes: int
    settings: Mapping[str, str]
    devices_a_copy: int
    spread_settings: Mapping[str, str]


def typical_shard(lengths: np.ndarray, shard_rows: int) -> np.ndarray:
    """Lengths of rows that stand for those of a shard: from the shortest of `lengths` (N,) to the longest, evenly."""
    if not len(lengths):
        return lengths
    return np.sort(lengths)[np.linspace(0, len(lengths) - 1, min(len(lengths), shard_rows)).round().astype(int)]


def peaks(shape: ModelShape, knobs: Knobs) -> list[Peak]:
    """What the warm-up and the extraction hold at most, whichever of them are to be done."""
    found = []
    if knobs.trains:
        found.append(Peak("warm-up", _warm_up(shape, knobs)))
    if knobs.extracts:
        found.append(Peak("gradients", _extraction(shape, knobs)))
    return found


def fit(shape: ModelShape, knobs: Knobs, memory_bytes: int) -> Fit:
    """Whether the peaks fit into `memory_bytes`, and with which settings they would."""
    of_one = peaks(shape, knobs)
    fits = _fits(of_one, memory_bytes)
    settings = {} if fits else _settings_that_fit(shape, knobs, memory_bytes)
    lean = replace(knobs, batch_tokens=min(knobs.batch_tokens, _SHORTEST_BATCH), device_batch_size=1)
    devices = _devices_a_copy(shape, lean, memory_bytes)
    spread = {_SPREAD: "auto", **_changes(knobs, lean)} if knobs.device_type == "cuda" else {}
    return Fit(fits, memory_bytes, _most(of_one), settings, devices, spread)


def _warm_up(shape: ModelShape, knobs: Knobs) -> list[Part]:
    longest = min(knobs.longest, knobs.max_length)
    tokens = knobs.device_batch_size * longest
    of = f"{knobs.device_batch_size} rows x {longest:,} tokens"
    return [
        *_model(shape, knobs),
        Part("its gradient", f"{shape.coordinates:,} x 4 bytes", 4 * shape.coordinates),
        Part("AdamW's moments", f"{shape.coordinates:,} x 8 bytes", 8 * shape.coordinates),
        *_activations(shape, knobs, tokens, of, training=True),
        _logits(shape, knobs, tokens),
    ]


def _extraction(shape: ModelShape, knobs: Knobs) -> list[Part]:
    lengths = np.minimum(knobs.lengths, knobs.max_length)
    batches = plan_batches(lengths, knobs.batch_tokens)
    tokens = max((len(batch) * int(lengths[batch].max()) for batch in batches), default=0)
    rows = max((len(batch) for batch in batches), default=0)
    gradients = Part(
        "Γ of one layer",
        f"{rows:,} rows x {shape.largest:,} coordinates x {_GAMMA_COPIES} x 4 bytes",
        rows * shape.largest * _GAMMA_COPIES * 4,
        shared=False,
    )
    logits = _logits(shape, knobs, tokens)
    several = f" x {knobs.num_checkpoints} checkpoints" if knobs.num_checkpoints > 1 else ""
    return [
        *_model(shape, knobs),
        Part(
            "Adam's moments, signs",
            f"{shape.coordinates:,} x 8 bytes{several}, and x 1",
            shape.coordinates * (8 * knobs.num_checkpoints + 1),
        ),
        *_activations(shape, knobs, tokens, f"{tokens:,} tokens", training=False),
        # logits are gone before the first layer's gradients come
        max(logits, gradients, key=lambda part: part.num_bytes),
    ]


def _model(shape: ModelShape, knobs: Knobs) -> list[Part]:
    size = BYTES[knobs.dtype]
    weights, num_bytes = f"{shape.parameters:,} parameters x {size} bytes ({knobs.dtype})", size * shape.parameters
    if knobs.rounded is not None:
        kind, num_bytes = knobs.rounded
        weights = f"{shape.parameters:,} parameters, linear layers of the blocks in {kind}"
    return [
        Part("frozen weights", weights, num_bytes),
        Part("adapter", f"{shape.coordinates:,} coordinates x 4 bytes", 4 * shape.coordinates),
    ]


def _activations(shape: ModelShape, knobs: Knobs, tokens: int, of: str, *, training: bool) -> list[Part]:
    size = BYTES[knobs.dtype]
    masked = 5 if knobs.device_type == "cuda" else 8
    copies = masked if training and knobs.dropout else 4 if size < 4 else 0
    terms = [f"{size} x {shape.widths:,}", f"4 x {shape.adapted_ranks:,}"]
    if copies:
        terms.append(f"{copies} x {shape.adapted_inputs:,}")
    a_token = size * shape.widths + 4 * shape.adapted_ranks + copies * shape.adapted_inputs
    return [Part("activations", f"{of} x ({' + '.join(terms)}) bytes", tokens * a_token)]


def _logits(shape: ModelShape, knobs: Knobs, tokens: int) -> Part:
    size = BYTES[knobs.dtype] + 8
    return Part(
        "logits", f"{tokens:,} tokens x {shape.vocabulary:,} x {size} bytes", tokens * shape.vocabulary * size, False
    )


def _most(found: list[Peak], devices: int = 1) -> int:
    return max((peak.on_each_of(devices) for peak in found), default=0)


def _fits(found: list[Peak], memory_bytes: int, devices: int = 1) -> bool:
    return _most(found, devices) * SPARE < memory_bytes


def _devices_a_copy(shape: ModelShape, knobs: Knobs, memory_bytes: int) -> int:
    of_a_copy = peaks(shape, knobs)
    for devices in range(1, _MOST_DEVICES + 1):
        if _fits(of_a_copy, memory_bytes, devices):
            return devices
    return 0


def _settings_that_fit(shape: ModelShape, knobs: Knobs, memory_bytes: int) -> dict[str, str]:
    """The first settings that fit, in the order of what they cost; none of them further from `knobs` than is needed."""
    for found in _cheaper(knobs):
        if _fits(peaks(_with_rank(shape, knobs, found), found), memory_bytes):
            for name in _NAMES:  # others may have done so much that this one need not go as far
                tried = (replace(found, **{name: value}) for value in _between(knobs, found, name))
                found = next(of for of in tried if _fits(peaks(_with_rank(shape, knobs, of), of), memory_bytes))
            return _changes(knobs, found)
    return {}


# What is given up first comes last here: it is what is tried first to be left as it was.
_NAMES = {
    "rank": "warmup.lora.rank",
    "max_length": "examples.max_length",
    "batch_tokens": "execution.batch_tokens",
    "device_batch_size": "warmup.device_batch_size",
    "dtype": "model.dtype",
}


def _changes(before: Knobs, now: Knobs) -> dict[str, str]:
    """The settings, by name, that are others `now`."""
    return {
        setting: str(getattr(now, name))
        for name, setting in _NAMES.items()
        if getattr(now, name) != getattr(before, name)
    }


def _with_rank(shape: ModelShape, before: Knobs, now: Knobs) -> ModelShape:
    return shape if not before.rank or not now.rank else shape.with_rank(now.rank / before.rank)


def _between(before: Knobs, now: Knobs, name: str) -> list[Any]:
    """Values of a setting from what it was to what it is `now`, which is the last."""
    first, last = getattr(before, name), getattr(now, name)
    if isinstance(first, str) or first == last:
        return list(dict.fromkeys([first, last]))
    values = [first]
    while values[-1] // 2 > last:
        values.append(values[-1] // 2)
    return [*values, last]


def _cheaper(knobs: Knobs) -> Iterator[Knobs]:
    """Settings that take less and less memory, the least harmful first."""
    if BYTES[knobs.dtype] > 2:
        knobs = replace(knobs, dtype="bfloat16")
        yield knobs
    while knobs.trains and knobs.device_batch_size > 1:
        knobs = replace(knobs, device_batch_size=knobs.device_batch_size // 2)
        yield knobs
    while knobs.batch_tokens > _SHORTEST_BATCH:
        knobs = replace(knobs, batch_tokens=max(_SHORTEST_BATCH, knobs.batch_tokens // 2))
        yield knobs
    longest = min(knobs.longest, knobs.max_length)
    for length in (1024, _SHORTEST_ROW):
        if length < longest:
            knobs = replace(knobs, max_length=length)
            yield knobs
    while knobs.rank is not None and knobs.rank > _LOWEST_RANK:
        knobs = replace(knobs, rank=max(_LOWEST_RANK, knobs.rank // 2))
        yield knobs
