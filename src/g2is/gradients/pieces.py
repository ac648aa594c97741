"""Per-example gradients of a weight by pieces, so that what is in memory at once stays below a bound.

A piece is a block of examples with all of the weight's coordinates; where one example alone is too large, a block of
the weight's rows of one example. Γ goes by coordinates and the sketch by runs of them, so how gradients are cut
changes no row beyond float rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

# What is in memory for a piece of B examples and n coordinates, in float32: the gradient, Γ's numerator and denominator
# and what it comes to where squares overflow, each (B, n); m, v, two products of theirs, and the sketch's signs, (n,).
_EACH, _SHARED = 4, 5
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Piece:
    """Which part of a parameter's per-example gradients a tensor holds: of `examples`, coordinates `start` to `stop`.

    Coordinates are those of the flattened parameter.
    """

    examples: slice
    start: int
    stop: int


def cut(num_examples: int, shape: tuple[int, ...], most_bytes: int | None) -> Iterator[Piece]:
    """The pieces of the gradients (B, n) of `num_examples` B for a parameter of `shape`, in the order of its rows.

    What Γ and the sketch hold of one is at most `most_bytes` (`held`), or that of one row of the parameter for one
    example where this is more; None: no bound.
    """
    num_rows, width = shape[0] if len(shape) > 1 else 1, shape[-1]
    size = num_rows * width
    if most_bytes is None or num_examples * size == 0:
        yield Piece(slice(0, num_examples), 0, size)
        return
    most_examples = (most_bytes // (_FLOAT * size) - _SHARED) // _EACH
    if most_examples >= 1:
        for first in range(0, num_examples, most_examples):
            yield Piece(slice(first, min(first + most_examples, num_examples)), 0, size)
        return
    rows = max(1, most_bytes // held(1, width))
    for example in range(num_examples):
        for row in range(0, num_rows, rows):
            yield Piece(slice(example, example + 1), row * width, min(row + rows, num_rows) * width)


def held(num_examples: int, size: int) -> int:
    """Bytes that Γ and the sketch hold at most for `num_examples` gradients of `size` coordinates."""
    return _FLOAT * size * (_EACH * num_examples + _SHARED)
