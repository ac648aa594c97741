"""`design` in rounds, between which the target's rows are given anew, against plain conditioning in float64."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from chosen_rows import K, units

from g2is.config import Config, SelectionConfig
from g2is.config.io import parse
from g2is.errors import ConfigError, SelectionError
from g2is.selection.apply import apply_selector
from g2is.selection.limits import Limits, Quota
from g2is.selection.problem import TargetRows
from g2is.selection.record import Picks, Walk
from g2is.selection.similarity import UnitRows

Renewed = Callable[[str, Sequence[int]], np.ndarray]


def drawn(seed: int, num_rows: int = 150) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_rows, K)).astype(np.float16)


def chosen(
    pool: np.ndarray, budget: int, targets: dict[str, np.ndarray], renew: Renewed | None, limits: Limits, **of: object
) -> Walk | Picks:
    settings = SelectionConfig(**{"duplicate_threshold": None, **of})
    each = {name: TargetRows(budget, rows=rows) for name, rows in targets.items()}
    return apply_selector(len(pool), UnitRows(pool), each, settings, limits, renew=renew).record


def scores_of(record: Walk | Picks) -> list[float]:
    return [step.score for step in record.steps]


@pytest.mark.parametrize("rounds", [2, 3, 7, 40])
@pytest.mark.parametrize("num_rows", [150, 1500])
def test_where_a_tuning_changes_nothing_rounds_choose_what_one_round_does(rounds: int, num_rows: int) -> None:
    pool, targets = drawn(rounds, num_rows), {"a": drawn(1, 6), "b": drawn(2, 4)}
    pool = (pool + 0.7 * targets["a"][np.arange(num_rows) % 6]).astype(np.float16)
    budget = num_rows // 4  # of 1,500 rows, more than they have coordinates: sums are added up
    web = Quota("web", np.arange(num_rows) % 3 == 0, budget // 4)
    limits = Limits(included=[5], quotas=[web])
    one = chosen(pool, budget, targets, None, limits, duplicate_threshold=0.9)
    several = chosen(
        pool, budget, targets, lambda name, _: targets[name], limits, duplicate_threshold=0.9, rounds=rounds
    )
    assert several.rows.tolist() == one.rows.tolist()
    np.testing.assert_allclose(scores_of(several), scores_of(one), rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_each_round_is_plain_conditioning_of_the_target_s_rows_of_that_round(seed: int, noise: float) -> None:
    pool, budget, rounds = drawn(seed), 47, 3
    of_round = [drawn(seed + 70, 6), drawn(seed + 80, 6), drawn(seed + 90, 5)]  # one example lost its gradient
    asked: list[list[int]] = []

    def renew(name: str, taken: Sequence[int]) -> np.ndarray:
        assert name == "t"
        asked.append(list(taken))
        return of_round[len(asked)]

    unit, expected, scores = units(pool), list[int](), list[float]()
    for step in range(budget):
        number = next(number for number in range(rounds) if step * rounds < budget * (number + 1))
        of_target = units(of_round[number])
        taken = unit[expected]
        inverse = np.linalg.inv(taken @ taken.T + noise * np.eye(len(taken)))
        covariances = of_target @ unit.T - of_target @ taken.T @ inverse @ taken @ unit.T
        variances = 1 - np.einsum("nk,nk->n", unit @ taken.T @ inverse, unit @ taken.T)
        worth = (np.maximum(covariances, 0) ** 2).sum(0) / (variances + noise)
        worth[expected] = worth[(unit @ of_target.T < 0).all(1)] = -np.inf
        expected.append(int(worth.argmax()))
        scores.append(float(worth.max()))
    found = chosen(pool, budget, {"t": of_round[0]}, renew, Limits(), noise=noise, rounds=rounds)
    assert found.rows.tolist() == expected
    np.testing.assert_allclose(scores_of(found), scores, rtol=1e-9)
    assert asked == [expected[:16], expected[:32]]  # a third of 47 and two thirds, and what is left of a row


def test_a_round_that_finds_nothing_more_leaves_the_rest_to_the_next_and_one_that_takes_nothing_is_the_last() -> None:
    """Three rows teach what is asked first, ten what is asked after a tuning on these, two what nobody asks."""
    pool, directions = np.zeros((15, K), np.float16), np.eye(K, dtype=np.float16)
    pool[:3, 0] = pool[3:13, 1] = pool[13:, 2] = 1.0
    asked: list[list[int]] = []

    def renew(later: int) -> Renewed:
        def renewed(_: str, taken: Sequence[int]) -> np.ndarray:
            asked.append(list(taken))
            return directions[later : later + 1]

        return renewed

    found = chosen(pool, 15, {"t": directions[:1]}, renew(1), Limits(), rounds=3)
    assert found.rows.tolist() == list(range(13))
    assert asked == [[0, 1, 2], list(range(10))]  # a third of 15, had there been as many; then two thirds
    assert str(found.ran_out).startswith("target 't': 13 of 15 rows")
    asked.clear()
    assert chosen(pool, 15, {"t": directions[:1]}, renew(0), Limits(), rounds=3).rows.tolist() == [0, 1, 2]
    assert asked == [[0, 1, 2]]


def test_parts_of_a_budget_of_tokens_are_of_tokens_and_each_target_s_own() -> None:
    pool, tokens = drawn(3), np.random.default_rng(4).integers(1, 9, 150)
    targets, asked = {"a": drawn(5, 4), "b": drawn(6, 4)}, dict[str, list[int]]()

    def renew(name: str, taken: Sequence[int]) -> np.ndarray:
        asked[name] = list(taken)
        return targets[name]

    found = chosen(pool, 60, targets, renew, Limits(tokens), rounds=2)
    assert list(asked) == ["a", "b"]
    for name, taken in asked.items():
        assert taken == [step.row for step in found.steps if step.target == name][: len(taken)]
        assert tokens[taken[:-1]].sum() < 30 <= tokens[taken].sum()


def test_of_candidates_the_rows_of_the_pool_are_named() -> None:
    pool, targets, asked = drawn(3), {"t": drawn(5, 4)}, list[list[int]]()
    places = np.arange(1, 150, 3)

    def renew(name: str, taken: Sequence[int]) -> np.ndarray:
        asked.append(list(taken))
        return targets[name]

    of = {"t": TargetRows(10, rows=targets["t"])}
    settings = SelectionConfig(rounds=2, candidates=50)
    found = apply_selector(150, UnitRows(pool[places]), of, settings, Limits(), places=places, renew=renew).record
    assert asked == [found.rows[:5].tolist()]


def test_rows_that_were_computed_before_have_no_rounds() -> None:
    with pytest.raises(SelectionError, match=r"selection\.rounds: expected a model to tune"):
        chosen(drawn(1), 9, {"t": drawn(2, 4)}, None, Limits(), rounds=3)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"rounds": 0}, "greater than or equal to 1"),
        ({"rounds": 2, "representation": "hidden"}, "rounds: expected the representation gradient.*found hidden"),
        ({"rounds": 2, "precondition": "pool"}, "rounds: expected no selection.precondition beside it"),
        ({"rounds": 2, "method": "less"}, "selection.rounds: expected the selector design.*found top"),
    ],
)
def test_what_does_not_go_with_rounds_is_refused(selection: dict[str, object], message: str) -> None:
    values = {"pool": "p", "target": "t", "out": "o", "model": {"name": "m"}, "selection": selection}
    with pytest.raises(ConfigError, match=message):
        parse(Config, values, "x")
