import itertools

import numpy as np
import pytest
import torch
from two_devices import FIRST, two_devices

from g2is.config import ProjectionConfig
from g2is.gradients.projection import Projection, add_whole_runs, sketch_dim

SIZES = {"a.lora_A.weight": 700, "a.lora_B.weight": 1300, "b.lora_A.weight": 64}


def vectors(num: int = 2, sizes: dict[str, int] = SIZES, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(num, size, generator=generator) for name, size in sizes.items()}


def projected(config: ProjectionConfig, gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    projection = Projection(config, {name: g.shape[1] for name, g in gradients.items()})
    rows = torch.zeros(len(next(iter(gradients.values()))), projection.dim)
    for name, gradient in gradients.items():
        projection.add_(rows, name, gradient.clone())
    return rows


def flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradients[name] for name in sorted(gradients)], 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "rademacher"])
def test_inner_products_are_unbiased_and_have_the_variance_that_theory_gives(kind: str) -> None:
    dim, num_seeds = 128, 1500
    gradients = vectors()
    x, y = flat(gradients).double()
    estimates = np.empty(num_seeds)
    for seed in range(num_seeds):
        rows = projected(ProjectionConfig(kind=kind, dim=dim, seed=seed), gradients).double()
        estimates[seed] = rows[0] @ rows[1]
    variance = ((x.norm() * y.norm()) ** 2 + (x @ y) ** 2 - 2 * (x**2 * y**2).sum()).item() / dim
    standard_error = (variance / num_seeds) ** 0.5
    assert abs(estimates.mean() - (x @ y).item()) < 4 * standard_error
    # the sample variance of near-normal estimates scatters by sqrt(2/n) = 3.7 %
    assert estimates.var() == pytest.approx(variance, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse", "rademacher"])
def test_norms_are_kept_in_the_mean(kind: str) -> None:
    gradients = vectors(1)
    squares = [
        projected(ProjectionConfig(kind=kind, dim=128, seed=seed), gradients).square().sum().item()
        for seed in range(600)
    ]
    assert np.mean(squares) == pytest.approx(flat(gradients).square().sum().item(), rel=0.02)


@pytest.mark.parametrize("kind", ["sparse", "rademacher"])
def test_the_matrix_depends_on_name_and_coordinate_and_not_on_the_other_modules(kind: str) -> None:
    gradients = vectors()
    name = "a.lora_B.weight"
    config = ProjectionConfig(kind=kind, dim=128)
    others_zero = {n: g if n == name else torch.zeros_like(g) for n, g in gradients.items()}
    alone = projected(config, {name: gradients[name]})
    torch.testing.assert_close(projected(config, others_zero), alone)
    renamed = projected(config, {"other": gradients[name]})
    assert not torch.allclose(renamed, alone)


@pytest.mark.parametrize("kind", ["sparse", "rademacher"])
def test_a_longer_module_keeps_the_columns_of_a_shorter_one(kind: str) -> None:
    config = ProjectionConfig(kind=kind, dim=128)
    short = vectors(2, {"p": 300})
    longer = {"p": torch.cat([short["p"], torch.zeros(2, 500)], 1)}
    torch.testing.assert_close(projected(config, short), projected(config, longer))


@pytest.mark.parametrize("kind", ["sparse", "rademacher"])
def test_cutting_the_batch_changes_no_bit_of_a_sparse_row_and_only_rounding_of_a_dense_one(kind: str) -> None:
    gradients = vectors(6)
    config = ProjectionConfig(kind=kind, dim=128)
    whole = projected(config, gradients)
    parts = torch.cat([projected(config, {n: g[i : i + 2] for n, g in gradients.items()}) for i in (0, 2, 4)])
    torch.testing.assert_close(whole, parts, rtol=0, atol=0 if kind == "sparse" else 1e-4)


def test_each_coordinate_lands_on_one_place_with_a_sign() -> None:
    config, size = ProjectionConfig(dim=50), 170
    rows = projected(config, {"p": torch.eye(size)})
    assert torch.equal(rows.abs().sum(1), torch.ones(size))
    assert torch.equal((rows != 0).sum(1), torch.ones(size, dtype=torch.int64))
    signs = rows.sum(1)
    assert 0.3 < (signs > 0).float().mean() < 0.7


def test_places_and_signs_of_version_1_never_change() -> None:
    rows = projected(ProjectionConfig(dim=2, seed=3), {"p": torch.eye(5)})
    assert rows.tolist() == [[1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]


def test_no_projection_where_there_are_no_more_coordinates_than_k() -> None:
    gradients = vectors()
    rows = projected(ProjectionConfig(dim=2064), gradients)
    assert torch.equal(rows, flat(gradients))
    assert sketch_dim(ProjectionConfig(dim=2064), 2064) == 2064
    assert sketch_dim(ProjectionConfig(dim=2063), 2064) == 2063
    assert sketch_dim(ProjectionConfig(kind="none"), 10**6) == 10**6


def test_another_seed_gives_another_matrix() -> None:
    gradients = vectors(1)
    rows = [projected(ProjectionConfig(dim=128, seed=seed), gradients) for seed in range(4)]
    for one, other in itertools.combinations(rows, 2):
        assert abs(torch.cosine_similarity(one, other).item()) < 0.5


@pytest.mark.parametrize(("size", "start"), [(2000, 0), (3 * 16 + 5, 7), (500, 16), (499, 333), (16 * 1100, 3)])
def test_on_a_gpu_runs_that_are_added_many_at_once_come_to_what_they_come_to_one_by_one(size: int, start: int) -> None:
    config = ProjectionConfig(dim=16)
    whole = torch.from_numpy(np.random.default_rng(0).integers(-99, 99, (3, start + size))).float()  # sums are exact
    expected = torch.zeros(3, 16)
    Projection(config, {"p": start + size}).add_(expected, "p", whole[:, start:].clone(), start)
    with two_devices():
        rows = torch.zeros(3, 16).to(FIRST)
        Projection(config, {"p": start + size}, FIRST).add_(rows, "p", whole[:, start:].clone().to(FIRST), start)
        found = rows.to("cpu")
    assert torch.equal(found, expected)


def test_which_examples_are_together_changes_no_bit_of_runs_that_are_added_many_at_once() -> None:
    offsets = torch.from_numpy(np.random.default_rng(1).integers(0, 16, 1501))
    gradient = torch.randn(5, 1501 * 16, generator=torch.Generator().manual_seed(0))
    together, alone = torch.zeros(5, 16), torch.zeros(5, 16)
    add_whole_runs(together, gradient, offsets)
    for i in range(5):
        add_whole_runs(alone[i : i + 1], gradient[i : i + 1], offsets)
    assert torch.equal(together, alone)
