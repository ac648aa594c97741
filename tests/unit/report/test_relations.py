"""Agreement and conflict against plain float64 products, whatever the blocks."""

import numpy as np
import pytest

from g2is.report.relations import Relating, Relations, Trails
from g2is.report.tops import Tops, best_of_rows


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def parts() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = unit(rng.normal(size=(90, 12)))
    return {
        "rows": rows,
        "at": np.array([7, 3, 50, 88]),
        "targets": unit(rng.normal(size=(5, 12))),
        "group_of": np.array([0, 0, 0, 1, 1]),
        "chosen_group": np.array([0, 0, 1, 0]),
    }


def related(parts: dict[str, np.ndarray], block: int, noise: list[float] | None = None) -> Relations:
    rows, at = parts["rows"], parts["at"]
    found = Relating(len(rows), rows[at], at, parts["targets"], parts["group_of"], parts["chosen_group"], noise)
    for low in range(0, len(rows), block):
        where = np.arange(low, min(low + block, len(rows)))
        found.look(where, rows[where])
    return found.found()


@pytest.mark.parametrize("block", [1, 7, 90])
def test_neighbours_and_conflicts_are_those_of_the_whole_matrix(parts: dict[str, np.ndarray], block: int) -> None:
    found = related(parts, block)
    rows, at = parts["rows"].astype(np.float64), parts["at"]
    cosines = rows @ rows[at].T
    with_targets = rows @ parts["targets"].astype(np.float64).T
    assert (found.target == with_targets.argmax(1)).all()
    assert np.allclose(found.target_cosine, with_targets.max(1), atol=1e-6)
    assert (found.against == cosines.argmin(1)).all()
    for place, row in enumerate(at):
        others = np.delete(np.arange(90), row)
        order = others[np.argsort(-cosines[others, place])]
        assert found.near[place].tolist() == order[:6].tolist()
        assert found.conflicts[place].tolist() == order[::-1][:3].tolist()
        assert np.allclose(found.conflict_cosine[place], cosines[order[::-1][:3], place], atol=1e-6)
        assert place not in found.chosen[row]  # no row is near itself
    assert np.allclose(found.similarity[:, 0], with_targets[:, :3].mean(1), atol=1e-6)
    assert (found.opposed[:, 1] == (with_targets[:, 3:] < 0).all(1)).all()
    assert found.histograms["chosen with chosen"].sum() == 4 * 3
    assert found.histograms["pool with its nearest target example"].sum() == 90


@pytest.mark.parametrize("block", [1, 7, 90])
@pytest.mark.parametrize("are_shared", [False, True])
@pytest.mark.parametrize("num_compared", [9, 8])
def test_a_row_conflicts_with_a_target_where_it_does_in_every_trail_of_it(
    parts: dict[str, np.ndarray], block: int, are_shared: bool, num_compared: int
) -> None:
    # Row 60 was included by name, and no trail knows it. Trails 0, 1 and 2 are the first target's, 3 the second's; of
    # the last row of the choice it is not always known what conflicts with it.
    at = np.array([60, 7, 3, 50, 88, 21, 30, 44, 66])
    trails = np.array([-1, 0, 0, 1, 1, 1, 3, 3, 2])
    target = np.array([-1, 0, 0, 0, 0, 0, 1, 1, 0])
    rows, compared = parts["rows"], at[:num_compared]
    found = Relating(
        *(90, rows[compared], compared, parts["targets"], parts["group_of"], target, None),
        Trails(0.15, trails, are_shared),
    )
    for low in range(0, 90, block):
        where = np.arange(low, min(low + block, 90))
        found.look(where, rows[where])
    relations = found.found()
    assert relations.refused is not None
    assert relations.refused_cosine is not None
    cosines = rows.astype(np.float64) @ rows[compared].astype(np.float64).T
    num_refused = [0, 0]
    for row in range(90):
        for group in (0, 1):
            minded = [
                place for place in range(1, num_compared)
                if target[place] == group or (are_shared and target[place] < group)
            ]  # fmt: skip
            in_trails = {int(trails[place]): False for place in range(9) if target[place] == group}
            for place in minded:
                in_trails[int(trails[place])] = in_trails.get(int(trails[place]), False) or cosines[row, place] < -0.15
            is_refused = any(in_trails.values()) if are_shared else all(in_trails.values())
            worst = min(minded, key=lambda place: cosines[row, place])
            assert relations.refused[row, group] == (worst if is_refused else -1), (row, group)
            if is_refused:
                assert relations.refused_cosine[row, group] == pytest.approx(cosines[row, worst], abs=1e-6)
            num_refused[group] += is_refused
    assert num_refused[1]
    assert bool(num_refused[0]) == (are_shared or num_compared == 9)  # of a trail that was not compared nothing is said


@pytest.mark.parametrize("noise", [None, [1.0, 1.0]])
def test_examples_that_no_selector_looked_at_are_left_out(
    parts: dict[str, np.ndarray], noise: list[float] | None
) -> None:
    expected = related(parts, 7, noise)
    targets = np.insert(parts["targets"], 1, 0, axis=0)
    found = related(parts | {"targets": targets, "group_of": np.array([0, 0, 0, 0, 1, 1])}, 7, noise)
    assert (found.target == np.where(expected.target > 0, expected.target + 1, 0)).all()
    for name in ("target_cosine", "similarity", "opposed", "worth"):  # products of one more row round otherwise: AVX2
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6, err_msg=name)
    assert expected.opposed.any()


def test_what_a_row_is_worth_after_the_choice_is_what_the_selector_design_computes(
    parts: dict[str, np.ndarray],
) -> None:
    noises = [0.7, 2.5]
    found = related(parts, 20, noises)
    assert found.worth is not None
    rows = parts["rows"].astype(np.float64)
    for group, noise in enumerate(noises):
        targets = parts["targets"][parts["group_of"] == group].astype(np.float64)
        covariance, variance = rows @ targets.T, np.ones(len(rows))
        known: list[np.ndarray] = []
        for row in parts["at"][parts["chosen_group"] == group]:  # one after the other, as the selector does
            new = rows[row] - sum((of * (of @ rows[row]) for of in known), np.zeros(12))
            new = new / np.sqrt(rows[row] @ new + noise)
            known.append(new)
            covariance -= np.outer(rows @ new, targets @ new)
            variance -= (rows @ new) ** 2
        worth = np.square(np.maximum(covariance, 0)).sum(1) / (variance + noise)
        assert np.allclose(found.worth[:, group], worth, atol=1e-5)


def test_the_highest_of_blocks_are_the_highest_of_all() -> None:
    values = np.random.default_rng(1).normal(size=(3, 40)).astype(np.float32)
    tops = Tops(3, 5)
    for low in range(0, 40, 4):
        tops.add(values[:, low : low + 4], np.arange(low, low + 4))
    places, found = tops.found()
    assert (places == np.argsort(-values, axis=1)[:, :5]).all()
    assert (found == np.take_along_axis(values, places, 1)).all()


def test_where_there_is_too_little_the_rest_is_said_to_be_none() -> None:
    tops = Tops(2, 3)
    tops.add(np.array([[0.5], [-np.inf]], np.float32), np.array([9]))
    places, values = tops.found()
    assert places.tolist() == [[9, -1, -1], [-1, -1, -1]]
    assert values.tolist() == [[0.5, 0, 0], [0, 0, 0]]
    assert best_of_rows(np.empty((2, 0), np.float32), 0)[0].shape == (2, 0)
