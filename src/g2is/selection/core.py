"""Core knowledge: the directions K_V that the target gradients share (method.md step 6)."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from g2is.errors import SelectionError
from g2is.methods import Section

_SQUARABLE = (1e-60, 1e60)  # a largest entry between these has squares, and sums of them, in float64's range
ALIGNED = 1e-12  # cosine with the mean target gradient from which a component has a sign
_NO_VARIANCE = 1e-12  # share of the whole below which a float64 decomposition returns rounding, not a direction


class CoreSettings(Section):
    """How core knowledge is made of the target gradients."""

    core: Literal["pca", "svd", "mean"] = Field("svd", description="svd: uncentred, keeps the mean direction")
    core_mode: Literal["variance", "count_ratio"] = Field(
        "variance", description="core_fraction is a share of the variance, or of k components"
    )
    core_fraction: float = Field(0.5, gt=0, le=1, description="share of variance (or of k) the components keep")
    orient: bool = Field(True, description="turn each component so that the mean target gradient agrees with it")
    normalize_targets: bool = Field(True, description="unit target rows before the decomposition")


@dataclass(frozen=True)
class CoreKnowledge:
    """Components of the target gradients, the strongest first.

    components      (C, k) float64 unit rows
    variance        (C,) float64, each one's share of all variance (pca) or of all squared length (svd); 1 for mean
    mean_alignment  (C,) float64, cosine of each component with the mean target gradient (0 where the rows cancel)
    num_target_rows rows that the components were made from
    num_zero_rows   target rows set aside because a zero row cannot be made a unit row
    """

    components: NDArray[np.float64]
    variance: NDArray[np.float64]
    mean_alignment: NDArray[np.float64]
    num_target_rows: int
    num_zero_rows: int


def core_knowledge(target_gradients: np.ndarray, settings: Section) -> CoreKnowledge:
    """Decompose `target_gradients` (M, k), any float dtype, into core knowledge.

    `settings` are `CoreSettings`, or a `SelectionConfig`, which has them among its own.

    `pca` is scikit-learn's with `svd_solver="full"` (the authors leave the solver to scikit-learn, which may choose an
    unseeded randomised one), its signs included; `svd` is the same without subtracting the mean row; `mean` is the
    mean row's direction. `core_mode: variance` keeps the leading components whose variance first exceeds
    `core_fraction` of the whole (scikit-learn's rule); `count_ratio` keeps max(1, int(k · core_fraction)). Of those, a
    component without variance (such as the last of M centred rows) is rounding noise and is dropped: it would get no
    budget. `normalize_targets` makes unit rows first and sets zero rows aside. `orient` turns each component so that
    the mean target gradient has a non-negative product with it.

    Raises SelectionError if there are no rows, a row holds NaN or Inf, all rows are zero, `pca` gets fewer than two
    different rows, `mean` gets rows that cancel, or `count_ratio` asks for more components than there are rows.
    """
    settings = settings.part(CoreSettings)
    rows, num_zero_rows = _usable_rows(target_gradients, settings)
    mean = rows.mean(axis=0)
    if settings.core == "mean":
        components, variance = _mean_direction(rows, mean), np.ones(1)
    else:
        num_asked = _num_asked(rows, settings)
        components, shares = _pca(rows) if settings.core == "pca" else _svd(rows)
        components, variance = _leading(components, shares, num_asked, settings)
    components = components / np.linalg.norm(components, axis=1, keepdims=True)
    length = np.linalg.norm(mean)
    # what is left where rows cancel is rounding, and so would be the signs that it gives
    cancel = length <= _NO_VARIANCE * np.linalg.norm(rows, axis=1).max()
    alignment = np.zeros(len(components)) if cancel else components @ mean / length
    if settings.orient:
        # An alignment of 0 up to rounding says nothing about the sign; flipping on it would differ between machines.
        signs = np.where(alignment < -ALIGNED, -1.0, 1.0)
        components, alignment = components * signs[:, None], alignment * signs
    return CoreKnowledge(components, variance, alignment, len(rows), num_zero_rows)


def _usable_rows(target_gradients: np.ndarray, settings: CoreSettings) -> tuple[NDArray[np.float64], int]:
    shape = np.shape(target_gradients)
    if len(shape) != 2 or 0 in shape:
        raise SelectionError(f"target gradients: expected an (M, k) matrix with at least one row, found shape {shape}")
    rows = np.asarray(target_gradients, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise SelectionError(
            f"target gradients: expected finite numbers, found NaN or Inf in {len(broken)} of {len(rows)} rows, first"
            f" in row(s) {broken[:5].tolist()}; leave those examples out"
        )
    scale = np.abs(rows).max(axis=1)
    if not scale.any():
        raise SelectionError(
            f"target gradients: expected a row that is not zero, found {len(rows)} zero row(s). A gradient of zero"
            " means that the example has no learned token: check the target's answers and max_length"
        )
    if not settings.normalize_targets:
        largest = float(scale.max())
        if not _SQUARABLE[0] < largest < _SQUARABLE[1]:  # by a power of two, so that no digit changes
            rows = np.ldexp(rows, -math.frexp(largest)[1])
        return rows, 0
    rows = rows[scale > 0] / scale[scale > 0, None]  # first by the largest entry, so that no square under- or overflows
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), int((scale == 0).sum())


def _num_asked(rows: NDArray[np.float64], settings: CoreSettings) -> int | None:
    """How many components `count_ratio` asks for; None under `variance`."""
    num_rows, k = rows.shape
    if settings.core == "pca" and num_rows == 1:
        raise SelectionError(
            "core pca: expected at least 2 target rows to find directions of variance in, found 1; use core svd or mean"
        )
    if settings.core_mode == "variance":
        return None
    num_asked = max(1, int(k * Fraction(str(settings.core_fraction))))
    if num_asked > num_rows:
        raise SelectionError(
            f"core_mode count_ratio: expected at most {num_rows} components, one for each target row, found"
            f" {settings.core_fraction} of k = {k}, which is {num_asked}; use a core_fraction of at most"
            f" {num_rows / k:.3g}, core_mode variance, or more target rows"
        )
    return num_asked


def _pca(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if np.ptp(rows, axis=0).max() <= _NO_VARIANCE * np.abs(rows).max():
        raise SelectionError(
            f"core pca: expected target rows that differ, found {len(rows)} equal rows, which have no variance; use"
            " core svd or mean"
        )
    from sklearn.decomposition import PCA  # here, because it takes a second to import

    pca = PCA(svd_solver="full").fit(rows)
    return pca.components_, pca.explained_variance_ratio_


def _svd(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    _, singular, components = np.linalg.svd(rows / np.abs(rows).max(), full_matrices=False)
    # The sign rule of scikit-learn's PCA: the entry of largest size is positive.
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return components * np.where(largest < 0, -1.0, 1.0), singular**2 / (singular**2).sum()


def _leading(
    components: NDArray[np.float64], shares: NDArray[np.float64], num_asked: int | None, settings: CoreSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if num_asked is None:
        num_asked = 1 + int(np.searchsorted(np.cumsum(shares), settings.core_fraction, side="right"))
    num_kept = max(1, min(num_asked, int((shares > _NO_VARIANCE).sum())))
    return components[:num_kept], shares[:num_kept]


def _mean_direction(rows: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.linalg.norm(mean) <= _NO_VARIANCE * np.linalg.norm(rows, axis=1).max():
        raise SelectionError(
            f"core mean: the {len(rows)} target rows cancel, so their mean has no direction; use core svd or pca"
        )
    return mean[None, :] / np.linalg.norm(mean)
