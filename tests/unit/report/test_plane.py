"""The map's layout: near rows near, the same rows the same plane."""

from collections.abc import Callable

import numpy as np
import pytest

from g2is.errors import ConfigError
from g2is.report import plane
from g2is.report.plane import Method, Plane, check_method, fit_plane

Fit = Callable[[np.ndarray, int], Plane | None]


@pytest.fixture(params=["tsne", pytest.param("umap", marks=pytest.mark.long)])  # umap compiles for half a minute
def fit(request: pytest.FixtureRequest) -> Fit:
    method: Method = request.param
    if method == "umap":
        pytest.importorskip("umap", reason="umap-learn is not installed")
    return lambda rows, num_steps: fit_plane(rows, method, num_steps)


def groups(num: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    centres = 4 * rng.normal(size=(3, 20))
    of = rng.integers(0, 3, num)
    return (centres[of] + 0.3 * rng.normal(size=(num, 20))).astype(np.float32), of


def test_rows_that_are_alike_lie_together_and_so_do_those_placed_beside_them(fit: Fit) -> None:
    rows, of = groups(120)
    found = fit(rows[:60], 300)
    assert found is not None
    placed = found.place(rows[60:])
    centres = np.stack([found.xy[of[:60] == group].mean(0) for group in range(3)])
    nearest = np.linalg.norm(placed[:, None] - centres, axis=2).argmin(1)
    assert (nearest == of[60:]).all()


def test_the_same_rows_are_the_same_plane(fit: Fit) -> None:
    rows, _ = groups(50)
    one, other = (fit(rows, 300) for _ in range(2))
    assert one is not None
    assert other is not None
    assert (one.xy == other.xy).all()


@pytest.mark.parametrize("num", [8, 9, 20])
def test_few_and_equal_rows_are_laid_out(num: int, fit: Fit) -> None:
    for rows in (np.ones((num, 5), np.float32), groups(num)[0]):
        found = fit(rows, 250)
        assert found is not None
        assert np.isfinite(found.xy).all()
        assert np.isfinite(found.place(rows)).all()


def test_of_too_few_rows_there_is_no_map() -> None:
    assert fit_plane(np.ones((7, 5), np.float32), "tsne", 250) is None


def test_a_layout_that_is_not_installed_or_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "find_spec", lambda _: None)
    check_method("tsne")
    with pytest.raises(ConfigError, match="umap-learn"):
        check_method("umap")
    with pytest.raises(ConfigError, match="expected tsne or umap, found 'pacmap'"):
        check_method("pacmap")
