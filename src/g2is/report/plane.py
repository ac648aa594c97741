"""Places rows on a plane so that near ones lie near: t-SNE or UMAP of some, and the others beside their nearest.

t-SNE of 40,000 rows takes minutes. So only some rows, the landmarks, are laid out; any other row comes to the mean of
the landmarks nearest to it, weighted by how near they are. All runs in one thread and from one seed: the same rows,
the same plane.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from g2is.errors import ConfigError

Method = Literal["tsne", "umap"]
_AXES = 50  # that rows are reduced to before, as is usual: what is left out is mostly noise
_NEIGHBOURS = 5  # landmarks that say where another row lies
_SEED = 0
_FEWEST = 8  # rows that a layout can say something of


@dataclass(frozen=True, eq=False)
class Plane:
    """Landmarks on the plane: `xy` (L, 2), their rows `reduced` (L, a); `mean` (k,) and `axes` (k, a) reduce others."""

    xy: NDArray[np.float32]
    reduced: NDArray[np.float32]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    def place(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where `rows` (n, k) lie: (n, 2)."""
        reduced = (rows - self.mean) @ self.axes
        squares = np.square(reduced).sum(1)[:, None] + np.square(self.reduced).sum(1) - 2 * reduced @ self.reduced.T
        distances = np.sqrt(np.maximum(squares, 0))
        num = min(_NEIGHBOURS, len(self.xy))
        nearest = np.argpartition(distances, num - 1, axis=1)[:, :num]
        of_nearest = np.take_along_axis(distances, nearest, axis=1)
        scale = np.maximum(of_nearest.mean(1, keepdims=True), 1e-12)
        weights = np.exp(-4 * (of_nearest - of_nearest.min(1, keepdims=True)) / scale)
        weights /= weights.sum(1, keepdims=True)
        return np.asarray(np.einsum("nm,nmd->nd", weights, self.xy[nearest]), np.float32)


def check_method(method: str) -> Method:
    """The method of that name. Raises ConfigError if there is none, or its package is not installed."""
    if method not in get_args(Method):
        raise ConfigError(f"--layout: expected tsne or umap, found {method!r}")
    if method == "umap" and find_spec("umap") is None:
        raise ConfigError("--layout umap: expected the package umap-learn, found none; pip install umap-learn, or tsne")
    return cast(Method, method)


def fit_plane(rows: NDArray[np.float32], method: Method, num_steps: int) -> Plane | None:
    """Lay out the landmarks `rows` (L, k) in `num_steps` of t-SNE's descent, or by UMAP; None if they are too few."""
    if len(rows) < _FEWEST:
        return None
    from sklearn.decomposition import PCA

    with threadpool_limits(1), np.errstate(invalid="ignore"):  # rows that are all equal have no variance
        num_axes = min(_AXES, len(rows) - 1, rows.shape[1])
        reducer = PCA(num_axes, svd_solver="randomized" if num_axes < min(rows.shape) // 2 else "full", random_state=0)
        reduced = reducer.fit_transform(rows).astype(np.float32)
        xy = _laid_out(reduced, method, num_steps)
    return Plane(xy, reduced, reducer.mean_.astype(np.float32), reducer.components_.T.astype(np.float32))


def _laid_out(reduced: NDArray[np.float32], method: Method, num_steps: int) -> NDArray[np.float32]:
    maker: Any
    if method == "umap":
        from umap import UMAP

        maker = UMAP(n_components=2, n_neighbors=min(15, len(reduced) - 1), random_state=_SEED, n_jobs=1)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(reduced) - 1) / 3)
        begin = "pca" if reduced[:, 0].std() > 0 else "random"  # of equal rows there is no spread to begin with
        maker = TSNE(2, perplexity=perplexity, init=begin, max_iter=num_steps, random_state=_SEED)
    return np.asarray(maker.fit_transform(reduced), np.float32)
