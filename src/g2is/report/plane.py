"""Places rows on a plane so that near ones lie near: t-SNE or UMAP of some, and the others beside their nearest.

t-SNE of 40,000 rows takes minutes. So only some rows, the landmarks, are laid out; any other row comes to the mean of
the landmarks nearest to it that lie together, or beside the nearest one. All runs in one thread and from one seed: the
same rows, the same plane.
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
    """Landmarks on the plane: `xy` (L, 2), how far they are from others there, `spacing` (L,), and their rows `reduced`
    (L, a); `mean` (k,) and `axes` (k, a) reduce others.
    """

    xy: NDArray[np.float32]
    spacing: NDArray[np.float32]
    reduced: NDArray[np.float32]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    def place(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where `rows` (n, k) lie: (n, 2)."""
        reduced = np.asarray((rows - self.mean) @ self.axes, np.float32)
        squares = np.square(reduced).sum(1)[:, None] + np.square(self.reduced).sum(1) - 2 * reduced @ self.reduced.T
        num = min(_NEIGHBOURS, len(self.xy))
        nearest = np.argpartition(squares, num - 1, axis=1)[:, :num]
        of_nearest = np.take_along_axis(squares, nearest, axis=1)
        order = np.argsort(of_nearest, axis=1, kind="stable")
        nearest, of_nearest = np.take_along_axis(nearest, order, 1), np.take_along_axis(of_nearest, order, 1)
        first, reach = nearest[:, 0], self.spacing[nearest[:, 0]]
        # a mean of landmarks that lie far apart would be a place between them, like none of them
        apart = np.linalg.norm(self.xy[nearest] - self.xy[first][:, None], axis=2)
        weights = np.where(apart <= 3 * reach[:, None], 1 / (1e-6 + np.maximum(of_nearest, 0)), 0)
        weights /= weights.sum(1, keepdims=True)
        middle = np.einsum("nm,nmd->nd", weights, self.xy[nearest])
        return np.asarray(middle + reach[:, None] * _scattered(np.asarray(reduced, np.float32)), np.float32)


def _scattered(reduced: NDArray[np.float32]) -> NDArray[np.float64]:
    """A place (n, 2) about 0 for each row, decided by the row alone, so that rows do not hide each other: most lie
    within the unit disc, the more the nearer to its middle.
    """
    bits = np.ascontiguousarray(reduced[:, :4]).view(np.uint32).astype(np.uint64)
    mixed = np.zeros(len(reduced), np.uint64)
    for column in bits.T:
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    share = (mixed >> np.uint64(32)).astype(np.float64) / 2**32
    angle = (mixed & np.uint64(0xFFFFFFFF)).astype(np.float64) / 2**32 * 2 * np.pi
    return 0.6 * np.sqrt(-np.log1p(-0.99 * share))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _spacing(xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each landmark (L, 2) is from its third nearest, but for outliers: those lie no farther than most."""
    squares = np.square(xy).sum(1)[:, None] + np.square(xy).sum(1) - 2 * xy @ xy.T
    third = np.sqrt(np.maximum(np.partition(squares, 3, axis=1)[:, 3], 0))
    return np.asarray(np.minimum(third, 1.5 * np.median(third)), np.float32)


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
    return Plane(xy, _spacing(xy), reduced, reducer.mean_.astype(np.float32), reducer.components_.T.astype(np.float32))


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
