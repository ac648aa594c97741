"""How a selection compares with its pool."""

import numpy as np

from g2is.outputs.lengths import compare_lengths, compare_sources


def test_lengths_of_the_selection_stand_beside_the_pool_s() -> None:
    found = compare_lengths(np.array([10, 20, 30, 100]), np.array([1, 2, 3, 4]), np.array([3, 0]))
    assert found["rows"] == {"pool": 4, "selected": 2}
    assert found["tokens"]["pool"] == {"mean": 40.0, "median": 25.0}
    assert found["tokens"]["selected"] == {"mean": 55.0, "median": 55.0}
    assert (found["tokens"]["mean_ratio"], found["tokens"]["median_ratio"]) == (1.375, 2.2)
    assert (found["answer_tokens"]["mean_ratio"], found["answer_tokens"]["median_ratio"]) == (1.0, 1.0)


def test_an_empty_selection_has_no_middle() -> None:
    found = compare_lengths(np.array([10, 20]), np.array([1, 2]), np.array([], np.int64))
    assert found["tokens"]["selected"] == {"mean": None, "median": None}
    assert found["tokens"]["mean_ratio"] is None


def test_sources_come_with_their_shares_the_largest_first() -> None:
    found = compare_sources(["web", "code", "web", "math", "web"], np.array([1, 0]))
    assert [(of["source"], of["pool_rows"], of["selected_rows"]) for of in found] == [
        ("web", 3, 1),
        ("code", 1, 1),
        ("math", 1, 0),
    ]
    assert (found[0]["pool_fraction"], found[0]["selected_fraction"]) == (0.6, 0.5)


def test_at_most_so_many_sources_are_told_and_one_alone_is_not() -> None:
    assert len(compare_sources([str(number) for number in range(30)], np.array([1]))) == 10
    assert compare_sources(["web"] * 3, np.array([1])) == []


def test_a_source_that_rows_were_selected_of_is_told_however_few_it_has() -> None:
    sources = [str(number) for number in range(30) for _ in range(2)] + ["rare"]
    assert compare_sources(sources, np.array([60]))[0]["source"] == "rare"
