"""Scores against core knowledge and nearest target rows."""

import numpy as np
import pytest
import torch

from g2is.errors import MatrixError
from g2is.selection.core import CoreKnowledge
from g2is.selection.scores import nearest_target, scores


def core(components: np.ndarray, variance: list[float]) -> CoreKnowledge:
    return CoreKnowledge(components, np.array(variance), np.zeros(len(variance)), 5, 0)


def test_cosines_are_with_each_component_whatever_the_rows_length() -> None:
    pool = np.array([[3, 4, 0], [0, 0, -2], [30, 40, 0]], dtype=np.float16)
    found = scores(pool, core(np.eye(3)[[0, 2]], [0.6, 0.2]))
    np.testing.assert_allclose(found.cosines, [[0.6, 0.0], [0.0, -1.0], [0.6, 0.0]], rtol=1e-6)
    assert found.cosines.dtype == found.core_score.dtype == np.float32


def test_the_core_score_weighs_components_by_their_variance_over_its_sum() -> None:
    found = scores(np.array([[0.6, 0.8], [0.0, -1.0]]), core(np.eye(2), [0.6, 0.2]))
    np.testing.assert_allclose(found.core_score, [0.75 * 0.6 + 0.25 * 0.8, -0.25], rtol=1e-6)


def test_a_zero_row_has_no_score() -> None:
    found = scores(np.array([[0.0, 0.0], [1.0, 0.0]]), core(np.eye(2)[:1], [1.0]))
    assert np.isnan(found.core_score).tolist() == [True, False]
    assert np.isnan(found.cosines[:, 0]).tolist() == [True, False]


def test_scores_agree_with_a_plain_product_over_many_blocks() -> None:
    rng = np.random.default_rng(0)
    pool, components = rng.normal(size=(500, 700)), rng.normal(size=(3, 700))
    components /= np.linalg.norm(components, axis=1, keepdims=True)
    plain = pool @ components.T / np.linalg.norm(pool, axis=1, keepdims=True)
    np.testing.assert_allclose(scores(pool, core(components, [1, 1, 1])).cosines, plain, atol=1e-7)


def test_each_row_finds_the_target_row_of_highest_cosine() -> None:
    targets = np.array([[0.0, 5.0], [1.0, 0.0], [0.1, 0.1]])
    indices, cosines = nearest_target(np.array([[9.0, 0.0], [0.0, 0.2], [2.0, 2.1]]), targets)
    assert indices.tolist() == [1, 0, 2]
    np.testing.assert_allclose(cosines, [1, 1, 4.1 / np.sqrt(2 * (4 + 4.41))], rtol=1e-6)


def test_equally_near_target_rows_tie_to_the_lowest_index() -> None:
    targets = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 6.0], [0.1, 0.3]])
    assert nearest_target(np.array([[1.0, 3.0]]), targets)[0].tolist() == [1]


def test_a_zero_row_is_nearest_to_nothing_on_either_side() -> None:
    targets = np.array([[0.0, 0.0], [-1.0, 0.0]])
    indices, cosines = nearest_target(np.array([[1.0, 0.0], [0.0, 0.0]]), targets)
    assert indices.tolist() == [1, -1]
    assert cosines[0] == -1
    assert np.isnan(cosines[1])
    assert nearest_target(np.eye(2), np.zeros((1, 2)))[0].tolist() == [-1, -1]


def test_torch_rows_serve_too() -> None:
    indices, _ = nearest_target(torch.eye(2).bfloat16(), torch.eye(2).half().flip(0))
    assert indices.tolist() == [1, 0]


def test_matrices_of_different_k_are_refused_with_both() -> None:
    with pytest.raises(MatrixError, match=r"core knowledge: expected k = 3 .* found 2"):
        scores(np.ones((2, 3)), core(np.eye(2), [1.0, 1.0]))
    with pytest.raises(MatrixError, match=r"target gradients: expected k = 3 .* found 2"):
        nearest_target(np.ones((2, 3)), np.ones((2, 2)))


def test_a_broken_target_row_is_refused_by_its_own_name() -> None:
    with pytest.raises(MatrixError, match="target gradients: expected finite numbers"):
        nearest_target(np.ones((2, 2)), np.full((2, 2), np.nan))
