"""Odd gradient matrices: what selectors must either choose from correctly or refuse by one clear error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Matrix = Any  # (N, k) numpy array or torch tensor
Made = tuple[Matrix, Matrix]  # pool and target
_DTYPES = {"float16": np.float16, "float32": np.float32, "float64": np.float64}


@dataclass(frozen=True)
class Odd:
    """One odd input: `make(seed)` gives pool and target; `budget` rows are asked for.

    `refused`: no selection can be made of it, by any selector that looks at the rows.
    """

    name: str
    make: Callable[[np.random.Generator], Made]
    budget: Callable[[int], str] = lambda num_rows: str(max(1, num_rows // 3))
    refused: bool = False


def _rows(draw: np.random.Generator, num_rows: int, k: int = 12) -> np.ndarray:
    return (draw.normal(size=(num_rows, k)) + 0.4).astype(np.float32)


def _usual(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return _rows(draw, 40), _rows(draw, 5)


def _scaled(dtype: str, size: float) -> Callable[[np.random.Generator], Made]:
    """Rows whose largest entry is about `size`, which the dtype just holds or rounds to subnormal numbers."""

    def make(draw: np.random.Generator) -> Made:
        pool, target = (
            rows.astype(np.float64) / np.abs(rows).max(axis=1, keepdims=True) * size for rows in _usual(draw)
        )
        if dtype == "bfloat16":
            return torch.from_numpy(pool).bfloat16(), torch.from_numpy(target).bfloat16()
        return pool.astype(_DTYPES[dtype]), target.astype(_DTYPES[dtype])

    return make


def _with(change: Callable[[np.ndarray, np.ndarray, np.random.Generator], Any]) -> Callable[..., Made]:
    """The usual matrices, `change`d: in place, or to those that are returned."""

    def make(draw: np.random.Generator) -> Made:
        pool, target = _usual(draw)
        changed = change(pool, target, draw)
        return (pool, target) if changed is None else changed

    return make


def _put(which: int, row: int, value: Any) -> Callable[..., Made]:
    def change(pool: np.ndarray, target: np.ndarray, _: Any) -> None:
        (pool, target)[which][row, 3] = value

    return _with(change)


def _one_ulp(pool: np.ndarray, target: np.ndarray, _: Any) -> Made:
    return np.concatenate([pool[:13], pool[:13], np.nextafter(pool[:13], np.float32(9))]), target


def _pairwise_opposed(_: np.random.Generator) -> Made:
    """A simplex: every two rows of the pool conflict, half of them agree with the target."""
    pool = (np.eye(8) - 1 / 8).astype(np.float32)
    return pool, pool[:1] + pool[1:2]


def _half_opposed(pool: np.ndarray, target: np.ndarray, _: Any) -> None:
    pool[::2] = -np.abs(pool[::2])
    np.abs(target, out=target)


def _zeros_but_a_few(pool: np.ndarray, target: np.ndarray, _: Any) -> None:
    pool[3:] = 0
    target[1:] = 0


def _all_against(_: np.ndarray, target: np.ndarray, draw: np.random.Generator) -> Made:
    mean = np.abs(target).mean(axis=0, keepdims=True)
    return -(mean + 0.01 * draw.normal(size=(20, target.shape[1]))).astype(np.float32), np.abs(target)


def _fortran(pool: np.ndarray, target: np.ndarray, _: Any) -> Made:
    return np.asfortranarray(pool), np.asfortranarray(target)


def _strided(pool: np.ndarray, target: np.ndarray, _: Any) -> Made:
    return np.repeat(pool, 2, axis=1)[::-1, ::2], np.repeat(target, 3, axis=0)[::3]


ODD = (
    Odd("usual rows", _usual),
    Odd("one target row", _with(lambda pool, target, _: (pool, target[:1]))),
    Odd("one pool row", _with(lambda pool, target, _: (np.abs(pool[:1]), np.abs(target)))),
    Odd("one pool row, one target row, one column", lambda _: (np.ones((1, 1), "f4"), np.ones((1, 1), "f4"))),
    Odd("target is the pool", _with(lambda pool, target, _: (pool, pool))),
    Odd("identical pool rows", _with(lambda pool, target, _: (np.repeat(np.abs(pool[:1]), 40, 0), np.abs(target)))),
    Odd("identical target rows", _with(lambda pool, target, _: (pool, np.repeat(target[:1], 5, axis=0)))),
    Odd(
        "identical pool and target rows", _with(lambda pool, target, _: (np.ones((9, 4), "f4"), np.ones((3, 4), "f4")))
    ),
    Odd("every row minus the target", _with(lambda pool, target, _: (-np.abs(target), np.abs(target))), refused=True),
    Odd("every row near minus the target", _with(_all_against), refused=True),
    Odd("pairwise opposed rows", _pairwise_opposed),
    Odd("half of the pool opposed", _with(_half_opposed)),
    Odd("orthogonal to the target", lambda _: (np.eye(9, dtype="f4")[3:], np.eye(9, dtype="f4")[:3])),
    Odd("opposite target rows", _with(lambda pool, target, _: (pool, np.concatenate([target, -target])))),
    Odd("some zero rows", _with(_zeros_but_a_few), lambda _: "2"),
    Odd("all-zero pool", _with(lambda pool, target, _: (np.zeros_like(pool), target)), refused=True),
    Odd("all-zero target", _with(lambda pool, target, _: (pool, np.zeros_like(target))), refused=True),
    Odd("all-zero pool of negative zeros", _with(lambda pool, target, _: (-np.zeros_like(pool), target)), refused=True),
    Odd("NaN in a pool row", _put(0, 7, np.nan), refused=True),
    Odd("Inf in a pool row", _put(0, 0, -np.inf), refused=True),
    Odd("NaN in a target row", _put(1, 2, np.nan), refused=True),
    Odd("Inf in a target row", _put(1, 0, np.inf), refused=True),
    Odd("negative zeros", _with(lambda pool, target, _: (np.where(pool > 0, pool, np.float32(-0.0)), np.abs(target)))),
    *(
        Odd(f"{dtype} rows of about {size:g}", _scaled(dtype, size))
        for dtype, sizes in {
            "float16": (6e-8, 6e-5, 1e-3, 65504.0),
            "bfloat16": (1e-40, 1e-38, 1e-20, 1e25, 3e38),
            "float32": (1.4e-45, 1e-41, 1e-38, 1e-20, 1e25, 3.4e38),
            "float64": (1e-130, 1e-100, 1e100, 1e140),
        }.items()
        for size in sizes
    ),
    Odd("float64 rows whose squares underflow", _scaled("float64", 1e-200), refused=True),
    Odd("float64 rows whose squares overflow", _scaled("float64", 1e200), refused=True),
    Odd("one row asked for", _usual, lambda _: "1"),
    Odd("all rows asked for", _with(lambda pool, target, _: (np.abs(pool), np.abs(target))), str),
    Odd("more rows asked for than there are", _usual, lambda num_rows: str(num_rows + 1), refused=True),
    Odd("no row asked for", _usual, lambda _: "0", refused=True),
    Odd("a share that comes to no row", _usual, lambda _: "0.0001%", refused=True),
    Odd("fewer rows than components", _with(lambda pool, target, draw: (_rows(draw, 2), _rows(draw, 12)))),
    Odd("more target rows than columns", _with(lambda pool, target, draw: (_rows(draw, 30, 3), _rows(draw, 20, 3)))),
    Odd("one column", _with(lambda pool, target, draw: (_rows(draw, 30, 1), np.abs(_rows(draw, 4, 1))))),
    Odd("one column, all against", lambda _: (np.full((4, 1), -2, "f4"), np.full((2, 1), 3, "f4")), refused=True),
    Odd("copies exact and off by one ulp", _with(_one_ulp)),
    Odd("whole numbers", _with(lambda pool, target, _: (np.rint(pool).astype("i8"), target)), refused=True),
    Odd("big-endian numbers", _with(lambda pool, target, _: (pool.astype(">f4"), target.astype(">f8")))),
    Odd("Fortran order", _with(_fortran)),
    Odd("strided and reversed", _with(_strided)),
    Odd("no pool row", _with(lambda pool, target, _: (pool[:0], target)), lambda _: "1", refused=True),
    Odd("no target row", _with(lambda pool, target, _: (pool, target[:0])), refused=True),
    Odd("no column", _with(lambda pool, target, _: (pool[:, :0], target[:, :0])), refused=True),
    Odd("other widths", _with(lambda pool, target, _: (pool, target[:, :-1])), refused=True),
    Odd("a vector", _with(lambda pool, target, _: (pool[:, 0], target)), refused=True),
)

# Every selector that looks at rows, by its method; those that look at nothing read no matrix.
METHODS: tuple[Mapping[str, Any], ...] = (
    *({"method": name} for name in ("design", "g2is", "official", "less", "less-rr", "match", "without-graph")),
    *({"method": name} for name in ("interaction", "spice", "bids", "tsds", "knn-kde", "knn-uniform", "uot")),
    *({"method": name} for name in ("gist", "seed")),
    {"method": "rds+", "representation": "gradient"},
    *(
        {"method": "g2is", "core": core, "core_mode": mode, "core_fraction": fraction}
        for core, mode, fraction in (("pca", "variance", 1.0), ("mean", "variance", 0.5), ("svd", "count_ratio", 0.1))
    ),
    {"method": "g2is", "core": "svd", "core_mode": "count_ratio", "core_fraction": 1.0},
    {"method": "g2is", "cross_component_conflicts": True, "exact_budget": False, "normalize_targets": False},
)
# As a function alone: on files its rows are rounded to 16 bits before they are chosen from.
PRECONDITIONED: Mapping[str, Any] = {"method": "trackstar"}
