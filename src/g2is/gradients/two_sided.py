"""The two-sided projection: inputs and output gradients of a layer each by a small sign matrix, before their product.

The gradient of a weight W (p, q) is G = Σ_t l_t r_tᵀ, of what its rows and its columns see of each token. A row gets
Aᵀ G B = Σ_t (Aᵀ l_t)(Bᵀ r_t)ᵀ, with A (p, a) and B (q, b) of independent signs over √a and √b, other ones for every
weight; a bias gets Aᵀ g. So G is never made: memory is that of the tokens. Inner products are kept in the mean, with a
larger variance than by a sketch of G itself, since all of G's entries of one row share their signs. That holds for G
alone, not for what Γ makes of it entry by entry, unless Γ is the plain gradient.

LoGra (arXiv 2405.13954), TrackStar and bergson project so.
"""

from collections.abc import Mapping

import numpy as np
import torch

from g2is.config import ProjectionConfig
from g2is.gradients.projection import hashed_signs

Shape = tuple[int, ...]


def two_sided_dim(config: ProjectionConfig, shapes: Mapping[str, Shape]) -> int:
    """k of the rows: as near to `config.dim` as equal sides for all weights come from below, biases on top."""
    return sum(a * b for a, b in _sides(config, shapes).values())


def two_sided_bytes(config: ProjectionConfig, shapes: Mapping[str, Shape]) -> int:
    """What its matrices take: one for the rows of each parameter, and one for the columns of a weight, in float32."""
    sides = _sides(config, shapes)
    return sum(
        4 * size * side for name, shape in shapes.items() for size, side in zip(shape, sides[name], strict=False)
    )


class TwoSided:
    """A linear map from named parameter gradients to rows of `dim` coordinates, each parameter's in its own place."""

    kind = "two-sided"

    def __init__(
        self, config: ProjectionConfig, shapes: Mapping[str, Shape], device: torch.device | str = "cpu"
    ) -> None:
        """`shapes` maps every canonical parameter name to its shape."""
        sides = _sides(config, shapes)
        self._shapes = dict(shapes)
        self._left: dict[str, torch.Tensor] = {}
        self._right: dict[str, torch.Tensor] = {}
        self._place: dict[str, slice] = {}
        self.dim = 0
        for name in sorted(shapes):
            a, b = sides[name]
            self._left[name] = _matrix(config.seed, name, "left", shapes[name][0], a).to(device)
            if len(shapes[name]) > 1:
                self._right[name] = _matrix(config.seed, name, "right", shapes[name][1], b).to(device)
            self._place[name] = slice(self.dim, self.dim + a * b)
            self.dim += a * b

    def add_product_(self, rows: torch.Tensor, name: str, left: torch.Tensor, right: torch.Tensor) -> None:
        """Add to `rows` (B, dim) the projection of the gradients Σ_t l_t r_tᵀ of the weight `name`, in place.

        `left` is (B, T, p) and `right` (B, T, q), of any float type; products are of float32.
        """
        small = torch.bmm((left.float() @ self._left[name]).transpose(1, 2), right.float() @ self._right[name])
        rows[:, self._place[name]] += small.flatten(1)

    def add_(self, rows: torch.Tensor, name: str, gradient: torch.Tensor, start: int = 0) -> None:
        """As `Projection.add_`; of a weight, `gradient` (B, n) holds whole rows of it, in their order."""
        width = self._shapes[name][1] if name in self._right else 1
        first = start // width
        left = self._left[name][first : first + gradient.shape[1] // width]
        small = left.T @ gradient.unflatten(1, (-1, width))
        if name in self._right:
            small = small @ self._right[name]
        rows[:, self._place[name]] += small.flatten(1)


def _sides(config: ProjectionConfig, shapes: Mapping[str, Shape]) -> dict[str, tuple[int, int]]:
    """How many numbers stand for the rows and for the columns of each parameter; for the columns of a bias one."""
    num_weights = sum(len(shape) > 1 for shape in shapes.values())
    side = max(1, int((config.dim / max(1, num_weights)) ** 0.5))
    return {name: (min(side, shape[0]), min(side, shape[1]) if len(shape) > 1 else 1) for name, shape in shapes.items()}


def _matrix(seed: int, name: str, which: str, size: int, side: int) -> torch.Tensor:
    """Signs over √side, (size, side) float32; where `side` is `size`, nothing is projected: the identity."""
    if side == size:
        return torch.eye(size)
    signs = hashed_signs(f"two-sided\0{seed}\0{which}\0{name}", size * side)
    return torch.from_numpy(signs.astype(np.float32)).view(size, side) / side**0.5
