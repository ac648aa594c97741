"""BIDS against its description as plain loops, over examples, groups and several targets."""

from collections.abc import Sequence

import numpy as np
import pytest
from chosen_rows import K, chosen, cosines, drawn
from pydantic import ValidationError

from g2is.config import SelectionConfig
from g2is.methods import selector_kind
from g2is.selection.limits import Limits, Quota
from g2is.selection.pick import pick
from g2is.selection.problem import Problem


def standard(column: Sequence[float], open_rows: Sequence[int]) -> list[float]:
    values = [column[row] for row in open_rows]
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    return [(value - mean) / deviation if deviation > 1e-12 else 0.0 for value in column]


def by_hand(
    similarity: np.ndarray,
    num_taken: int,
    served: Sequence[Sequence[int]] = (),
    closed: Sequence[int] = (),
    web: np.ndarray | None = None,
) -> list[tuple[int, int, float]]:
    """(row, what it is for, gain), by the loop of the paper's description; at most two of the rows `web`.

    `served` are the examples that are served as one; without them each is.
    """
    num_rows, num_examples = similarity.shape
    may = [row for row in range(num_rows) if row not in closed]
    columns = [standard(similarity[:, example].tolist(), may) for example in range(num_examples)]
    of = [[example] for example in range(num_examples)]
    if served:
        of = [list(examples) for examples in served]
        means = [[sum(columns[at][row] for at in ours) / len(ours) for row in range(num_rows)] for ours in of]
        columns = [standard(mean, may) for mean in means]
    taken: list[int] = []
    found = []
    while len(taken) < num_taken:
        best: tuple[int, int, float] | None = None
        for row in may:
            if row in taken or (web is not None and web[row] and web[taken].sum() == 2):
                continue
            for at, ours in enumerate(of):
                if all(similarity[row, example] < 0 for example in ours):
                    continue
                so_far = sum(columns[at][other] for other in taken) / len(taken) if taken else 0.0
                gain = columns[at][row] - so_far
                if best is None or gain > best[2] + 1e-11:
                    best = row, at, gain
        if best is None:
            break
        taken.append(best[0])
        found.append(best)
    return found


def mixed(seed: int, num_rows: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_rows, K)).astype(np.float16)


@pytest.mark.parametrize("num_examples", [1, 6])
def test_it_takes_rows_as_a_plain_loop_does(num_examples: int) -> None:
    pool, target = mixed(1), mixed(2, num_examples)
    pool[3] = 0
    pool[20:22] = pool[10]
    found = chosen(pool, {"t": target}, 15, method="bids").record
    expected = by_hand(cosines(pool, target), 15, closed=[3])
    assert found.rows.tolist() == [row for row, _, _ in expected]
    np.testing.assert_allclose([step.score for step in found.steps], [gain for _, _, gain in expected], atol=1e-9)


def test_several_targets_share_the_budget_and_each_row_says_whom_it_serves() -> None:
    pool, targets = mixed(3), {"a": mixed(4, 3), "b": mixed(5, 2)}
    found = chosen(pool, targets, 14, method="bids").record
    similarity = np.concatenate([cosines(pool, target) for target in targets.values()], axis=1)
    expected = by_hand(similarity, 14)
    assert found.rows.tolist() == [row for row, _, _ in expected]
    assert [step.target for step in found.steps] == ["aaabb"[at] for _, at, _ in expected]
    assert found.budget == found.spent == 14


def test_targets_or_their_groups_are_served_as_wholes_if_asked_for() -> None:
    pool, targets = mixed(6), {"a": mixed(7, 4), "b": mixed(8, 4)}
    similarity = np.concatenate([cosines(pool, target) for target in targets.values()], axis=1)
    whole = chosen(pool, targets, 12, method="bids", balance="target").record
    expected = by_hand(similarity, 12, [range(4), range(4, 8)])
    assert whole.rows.tolist() == [row for row, _, _ in expected]
    assert [step.target for step in whole.steps] == ["ab"[at] for _, at, _ in expected]
    groups = ("x", "y", "x", None)
    grouped = chosen(pool, targets, 12, groups=groups, method="bids", balance="target").record
    expected = by_hand(similarity, 12, [[0, 2], [1], [3], [4, 6], [5], [7]])
    assert grouped.rows.tolist() == [row for row, _, _ in expected]
    alone = chosen(pool, {"a": targets["a"]}, 12, groups=groups, method="bids", balance="target").record
    assert alone.rows.tolist() == [row for row, _, _ in by_hand(similarity[:, :4], 12, [[0, 2], [1], [3]])]


def test_a_target_that_is_like_all_rows_gets_no_more_than_its_part() -> None:
    draw = np.random.default_rng(0)
    pool = draw.normal(size=(200, K)).astype(np.float32)
    pool[:, 0] += 6  # whatever else a row is, it is like the first target
    loud, quiet = np.zeros((1, K), np.float32), np.zeros((1, K), np.float32)
    loud[0, 0] = quiet[0, 1] = 1
    similarity = cosines(pool, np.concatenate([loud, quiet]))
    assert (similarity[:, 0] > similarity[:, 1]).mean() > 0.95
    found = chosen(pool, {"loud": loud, "quiet": quiet}, 40, method="bids").record
    assert 10 <= sum(step.target == "quiet" for step in found.steps) <= 30


def test_a_budget_of_tokens_quotas_and_included_rows_bind() -> None:
    pool, target, tokens = mixed(9), mixed(10, 5), np.random.default_rng(3).integers(5, 15, 40)
    by_tokens = chosen(pool, {"t": target}, 90, Limits(num_tokens=tokens), method="bids").record
    assert 90 - 15 < by_tokens.spent <= 90
    expected = by_hand(cosines(pool, target), len(by_tokens.steps))
    assert by_tokens.rows.tolist() == [row for row, _, _ in expected]
    web = (np.arange(40) % 3 > 0) & (np.arange(40) != 4)
    limits = Limits(included=(4,), quotas=[Quota("web", web, 2)])
    limited = chosen(pool, {"t": target}, 8, limits, method="bids").record
    expected = by_hand(cosines(pool, target), 8, closed=[4], web=web)
    assert limited.rows.tolist() == [4, *(row for row, _, _ in expected)]
    assert [step.target for step in limited.steps] == [None] + ["t"] * 8


def test_opposed_rows_are_taken_for_none_unless_asked_for() -> None:
    target = np.eye(1, K, dtype=np.float16)
    pool = drawn(1, 10)
    pool[:, 0] = np.abs(pool[:, 0]) * ([1] * 4 + [-1] * 6)
    found = chosen(pool, {"t": target}, 8, method="bids")
    assert sorted(found.record.rows.tolist()) == [0, 1, 2, 3]
    assert str(found.record.ran_out).startswith("target 't': 4 of 8 rows, because the selector bids found no further")
    assert len(chosen(pool, {"t": target}, 8, method="bids", take_opposed=True).record.steps) == 8


def test_scores_without_vectors_will_do() -> None:
    given = np.random.default_rng(0).random((30, 4)).astype(np.float32)
    settings = SelectionConfig(selector="bids", representation="lexical", duplicate_threshold=None)
    select = selector_kind("bids").select
    assert select is not None
    problem = Problem("t", 9, np.ones(30, np.int64), np.ones(30, bool), settings, given=given)
    found = pick([problem], select, Limits())
    assert found.rows.tolist() == [row for row, _, _ in by_hand(given.astype(np.float64), 9)]


def test_shares_of_a_budget_that_is_one_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"selection.shares: expected a selector .* found bids, which spends one"):
        SelectionConfig(method="bids", shares={"a": 2, "b": 1})
    assert SelectionConfig(method="less", shares={"a": 2, "b": 1}).shares == {"a": 2, "b": 1}
