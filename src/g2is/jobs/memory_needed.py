"""How much memory a run takes at its peaks, by arithmetic on the model's shape.

Nothing is loaded. s is the bytes of a weight in the model's type (2 in 16 bits, 4 in float32), D the coordinates of
what is trained, V the vocabulary, T the padded tokens of the largest batch. Of a token's activations the blocks keep,
until the backward pass:

    s x widths            inputs and outputs of linear layers (`model/shape.py`). Inputs of frozen ones are not kept:
                          they stand for norms, attention and activation functions
    4 x adapted ranks     what passes through the middle of the adapters, in float32
    4 x adapted inputs    what PEFT copies to float32 for the adapters, where weights have 16 bits
    5 x adapted inputs    in its place while training with dropout: what is left of the inputs, and a mask of a byte;
                          8 on a CPU, whose mask is float32

Logits are held in the weights' type, in float32, and as their gradient: (s + 8) x T x V.

Of all linear layers in an adapter's place (`gradients.parameters: all`) the warm-up holds weights, gradients and
moments in float32, and the weights once more in the 16 bits that it computes in; the extraction the gradients of a
piece of a layer, whose bound is a setting (`gradients/pieces.py`). There every input is kept, so

    s x inputs            are counted once more, for norms, attention and activation functions
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from g2is.config import SecondMoments
from g2is.gradients.pieces import held
from g2is.model.batches import plan_batches
from g2is.model.shape import ModelShape

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_GAMMA_COPIES = 3  # of a module's per-example gradients at a time: themselves, a numerator, a denominator
_OPTIMIZERS: dict[SecondMoments, str] = {"factored": "Adafactor", "adam": "AdamW"}
_STEP_COPIES = 2  # of a parameter, that an optimizer makes which goes from one to the next


@dataclass(frozen=True)
class Part:
    """A part of what is held: what it is, how its bytes are counted; `shared` if blocks on several devices share it."""

    name: str
    arithmetic: str
    num_bytes: int
    shared: bool = True


@dataclass(frozen=True)
class Peak:
    """What is held at once, at most, while a `stage` works, by a model of so many `blocks`."""

    stage: str
    parts: Sequence[Part]
    blocks: int

    @property
    def num_bytes(self) -> int:
        """All of it."""
        return sum(part.num_bytes for part in self.parts)

    def on_each_of(self, devices: int) -> int:
        """Bytes of the fullest of so many devices, among which whole blocks are dealt, and the rest in proportion."""
        shared = sum(part.num_bytes for part in self.parts if part.shared)
        blocks = max(self.blocks, 1)
        return -(-shared * -(-blocks // devices) // blocks) + self.num_bytes - shared


@dataclass(frozen=True)
class Knobs:
    """The settings that decide how much memory is taken, by the names that they have in config.yaml.

    `shards` are the rows of a shard that stand for the pool and of one for the targets, (R,) int tokens each,
    `longest` those of the pool's longest row. `device_batch_size` is what a pass of the warm-up really has. Of a
    store that exists the rows are `settled`: other settings that decide them would be refused. `rank` is None of an
    adapter that the user brings, which is not trained either, and without one. `dropout` says whether there is any.
    `rounded` are the kind of rounding and the bytes of the frozen weights, where they are rounded as they are
    loaded. `second_moments` are those of all linear layers, None of an adapter; whether they can be factored where
    they are not is `can_factor`. `gradient_bytes` bounds a piece of such gradients. `matrices` are the bytes of a
    two-sided projection's, None of one by signs.
    """

    dtype: str
    batch_tokens: int
    device_batch_size: int
    max_length: int
    rank: int | None
    shards: Sequence[np.ndarray]
    longest: int
    dropout: bool
    num_checkpoints: int
    trains: bool
    extracts: bool = True
    device_type: str = "cuda"
    rounded: tuple[str, int] | None = None
    second_moments: SecondMoments | None = None
    can_factor: bool = False
    gradient_bytes: int = 1 << 30
    matrices: int | None = None
    settled: bool = False


def typical_shard(lengths: np.ndarray, shard_rows: int) -> np.ndarray:
    """Lengths of rows that stand for those of a shard: from the shortest of `lengths` (N,) to the longest, evenly."""
    if not len(lengths):
        return lengths
    return np.sort(lengths)[np.linspace(0, len(lengths) - 1, min(len(lengths), shard_rows)).round().astype(int)]


def peaks(shape: ModelShape, knobs: Knobs) -> list[Peak]:
    """What the warm-up and the extraction hold at most, whichever of them are to be done."""
    found = []
    if knobs.trains:
        parts = (_warm_up if is_of_adapter(knobs) else _warm_up_of_all)(shape, knobs)
        found.append(Peak("warm-up", parts, shape.blocks))
    if knobs.extracts:
        parts = (_extraction if is_of_adapter(knobs) else _extraction_of_all)(shape, knobs)
        found.append(Peak("gradients", parts, shape.blocks))
    return found


def is_of_adapter(knobs: Knobs) -> bool:
    """Whether gradients are of an adapter, and not of all linear layers."""
    return knobs.second_moments is None


def bytes_of_moments(shape: ModelShape, second_moments: SecondMoments) -> int:
    """What the optimizer keeps of all linear layers, and Γ reads: a number for each row and column, or two for each."""
    return 4 * shape.sums if second_moments == "factored" else 8 * shape.coordinates


def bytes_to_train_all(shape: ModelShape, dtype: str, second_moments: SecondMoments) -> int:
    """What training all linear layers holds beside the model as it is loaded: float32, gradients, moments."""
    size = BYTES[dtype]
    copies = (4 if size < 4 else 0) * shape.coordinates  # 4 - s more than they had, and s of what is computed with
    return copies + 4 * shape.coordinates + bytes_of_moments(shape, second_moments)


def _warm_up(shape: ModelShape, knobs: Knobs) -> list[Part]:
    tokens, of = _of_a_step(knobs)
    return [
        *_model(shape, knobs),
        Part("its gradient", f"{shape.coordinates:,} x 4 bytes", 4 * shape.coordinates),
        Part("AdamW's moments", f"{shape.coordinates:,} x 8 bytes", 8 * shape.coordinates),
        *_activations(shape, knobs, tokens, of, training=True),
        _logits(shape, knobs, tokens),
    ]


def _extraction(shape: ModelShape, knobs: Knobs) -> list[Part]:
    rows, tokens = _of_a_batch(knobs)
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


def _warm_up_of_all(shape: ModelShape, knobs: Knobs) -> list[Part]:
    """Of the optimizer's step and the backward pass before it, each has what it needs for itself in turn."""
    size, second, D = BYTES[knobs.dtype], knobs.second_moments, shape.coordinates
    assert second is not None
    tokens, of = _of_a_step(knobs)
    copies = (
        [Part(f"the same in {knobs.dtype}", f"{D:,} x {size} bytes, while it computes", size * D)] if size < 4 else []
    )
    a_weight = 4 if size == 4 else 4 + size  # the gradient that is added to those of a step's other batches
    backward = [
        *copies,
        *_activations(shape, knobs, tokens, of, training=True),
        _logits(shape, knobs, tokens),
        Part("a new gradient", f"{shape.largest:,} x {a_weight} bytes", shape.largest * a_weight),
    ]
    at_once = second == "adam" and knobs.device_type == "cuda"  # there torch's AdamW goes over all in one
    stepped, times = (D, 1) if at_once else (shape.largest, _STEP_COPIES)
    step = [Part(f"{_OPTIMIZERS[second]}'s step", f"{stepped:,} x {times} x 4 bytes", stepped * times * 4)]
    rest = shape.parameters - D
    return [
        Part("trained weights", f"{D:,} x 4 bytes (float32)", 4 * D),
        Part("other weights", f"{rest:,} x {size} bytes ({knobs.dtype})", size * rest),
        Part("gradients", f"{D:,} x 4 bytes", 4 * D),
        _moments(shape, second, 1),
        *max(backward, step, key=lambda parts: sum(part.num_bytes for part in parts)),
    ]


def _extraction_of_all(shape: ModelShape, knobs: Knobs) -> list[Part]:
    size, second = BYTES[knobs.dtype], knobs.second_moments
    assert second is not None
    rows, tokens = _of_a_batch(knobs)
    if knobs.matrices is None:
        projection = Part("projection's signs", f"{shape.coordinates:,} x 1 byte", shape.coordinates)
        whole = held(rows, shape.largest)
        piece = min(whole, knobs.gradient_bytes)
        bound = "execution.gradient_bytes" if whole > piece else f"of {rows:,} rows x {shape.largest:,} weights"
    else:  # which makes none
        projection = Part("projection's matrices", "two a weight, 4 bytes a number", knobs.matrices)
        piece, bound = 0, "no gradients of weights"
    of_logits = tokens * shape.vocabulary * size
    gradients = Part(
        "gradients of a piece",
        f"{piece:,} bytes ({bound}), and {tokens:,} tokens x {shape.vocabulary:,} x {size}",
        piece + of_logits,
    )
    return [
        Part("weights", f"{shape.parameters:,} parameters x {size} bytes ({knobs.dtype})", size * shape.parameters),
        _moments(shape, second, knobs.num_checkpoints),
        projection,
        *_activations(shape, knobs, tokens, f"{tokens:,} tokens", training=False),
        # the head's are made while its logits' gradient is there
        max(_logits(shape, knobs, tokens), gradients, key=lambda part: part.num_bytes),
    ]


def _moments(shape: ModelShape, second: SecondMoments, num_checkpoints: int) -> Part:
    several = f" x {num_checkpoints} checkpoints" if num_checkpoints > 1 else ""
    counted = (
        f"{shape.sums:,} rows and columns x 4 bytes" if second == "factored" else f"{shape.coordinates:,} x 8 bytes"
    )
    num_bytes = bytes_of_moments(shape, second) * num_checkpoints
    return Part(f"{_OPTIMIZERS[second]}'s moments", f"{counted}{several}", num_bytes)


def _of_a_step(knobs: Knobs) -> tuple[int, str]:
    """Padded tokens of the largest batch of the warm-up, and how they are counted."""
    longest = min(knobs.longest, knobs.max_length)
    return knobs.device_batch_size * longest, f"{knobs.device_batch_size} rows x {longest:,} tokens"


def _of_a_batch(knobs: Knobs) -> tuple[int, int]:
    """Rows and padded tokens of the batches of extraction that have most of them."""
    shards = [np.minimum(lengths, knobs.max_length) for lengths in knobs.shards]
    batches = [lengths[batch] for lengths in shards for batch in plan_batches(lengths, knobs.batch_tokens)]
    tokens = max((len(batch) * int(batch.max()) for batch in batches), default=0)
    return max((len(batch) for batch in batches), default=0), tokens


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
    widths = shape.widths if is_of_adapter(knobs) else shape.widths + shape.inputs
    terms = [f"{size} x {widths:,}"]
    if shape.adapted_ranks:
        terms.append(f"4 x {shape.adapted_ranks:,}")
    if copies and shape.adapted_inputs:
        terms.append(f"{copies} x {shape.adapted_inputs:,}")
    a_token = size * widths + 4 * shape.adapted_ranks + copies * shape.adapted_inputs
    return [Part("activations", f"{of} x ({' + '.join(terms)}) bytes", tokens * a_token)]


def _logits(shape: ModelShape, knobs: Knobs, tokens: int) -> Part:
    size = BYTES[knobs.dtype] + 8
    return Part(
        "logits", f"{tokens:,} tokens x {shape.vocabulary:,} x {size} bytes", tokens * shape.vocabulary * size, False
    )
