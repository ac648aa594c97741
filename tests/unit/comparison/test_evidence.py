"""From made-up cells to entries, against what can be computed by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from g2is.comparison.cells import Cell, Key
from g2is.comparison.evidence import Comparison
from g2is.comparison.grid import Grid
from g2is.comparison.notes import notes
from g2is.errors import ConfigError, InputError

Compare = Callable[..., Comparison]


def entry_of(comparison: Comparison, method: str, budget: str = "1%") -> Any:
    """An Entry. What tests look at in it may be None by its type; one that is fails the test."""
    return next(entry for entry in comparison.entries[budget] if entry.method == method)


def losses_of(
    cells: dict[Key, Cell], method: str, target: str, budget: str | None, seeds: tuple[int, ...] = (0, 1, 2)
) -> list[float]:
    return [cells[Key(method, target, budget, seed)].loss for seed in seeds]


def without(cells: dict[Key, Cell], *lacking: Key) -> dict[Key, Cell]:
    return {key: cell for key, cell in cells.items() if key not in lacking}


def test_losses_differences_and_relative_means_are_those_of_the_cells(cells: dict[Key, Cell], compare: Compare) -> None:
    found = entry_of(compare(cells), "g2is")
    mean = {
        (method, target): np.mean(losses_of(cells, method, target, "1%"))
        for method in ("g2is", "random")
        for target in ("gsm8k", "asset")
    }
    part = found.by_target["gsm8k"]
    assert part.loss.value == pytest.approx(mean["g2is", "gsm8k"])
    assert part.loss_range == pytest.approx(
        (min(losses_of(cells, "g2is", "gsm8k", "1%")), max(losses_of(cells, "g2is", "gsm8k", "1%")))
    )
    assert part.to_random.difference.value == pytest.approx(mean["g2is", "gsm8k"] - mean["random", "gsm8k"])
    ratios = [mean["g2is", target] / mean["random", target] for target in ("gsm8k", "asset")]
    assert found.mean.relative.value == pytest.approx(np.mean(ratios))
    assert found.mean.relative.low < found.mean.relative.value < found.mean.relative.high
    assert (found.mean.num_done, found.mean.num_planned, found.mean.num_rows) == (6, 6, 20)


def test_methods_come_best_mean_first_and_those_that_always_belong_are_there_without_having_been_run(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    entries = compare(cells).entries["1%"]
    assert [entry.method for entry in entries] == ["full", "less", "g2is", "random", "rds+", "untuned", "full-cut"]
    assert entries[-1].mean.relative is None
    assert [entry.method for entry in compare(cells).entries["5%"]][:3] == ["full", "g2is", "less"]


def test_verdicts_say_which_methods_are_clear_of_random_and_of_untuned(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    found = compare(cells)
    assert entry_of(found, "g2is").mean.to_random.verdict == "better"
    assert entry_of(found, "rds+").mean.to_random.verdict == "worse"
    assert entry_of(found, "rds+").mean.to_untuned.verdict == "better"
    same = {
        **cells,
        **{k: replace(cells[k._replace(method="random")], method="g2is") for k in cells if k.method == "g2is"},
    }
    assert entry_of(compare(same), "g2is").mean.to_random.verdict == "unclear"


def test_the_recovered_fraction_is_zero_for_random_one_for_full_and_below_zero_for_what_is_worse(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    found = compare(cells)
    assert entry_of(found, "random").mean.recovered.fraction.value == 0
    assert entry_of(found, "full").mean.recovered.fraction.value == pytest.approx(1)
    assert entry_of(found, "rds+").mean.recovered.fraction.value < 0
    random, g2is, full = (
        np.mean(losses_of(cells, method, "asset", budget))
        for method, budget in (("random", "1%"), ("g2is", "1%"), ("full", None))
    )
    of_asset = entry_of(found, "g2is").by_target["asset"].recovered.fraction
    assert of_asset.value == pytest.approx((random - g2is) / (random - full))


def test_the_recovered_fraction_can_be_taken_over_chosen_targets(cells: dict[Key, Cell], compare: Compare) -> None:
    found = compare(cells, recovered_on=["asset"])
    entry = entry_of(found, "g2is")
    assert entry.mean.recovered.fraction == entry.by_target["asset"].recovered.fraction
    assert any("R on the mean is over asset alone" in note for note in notes(found))
    with pytest.raises(ConfigError, match="found pubmedqa"):
        compare(cells, recovered_on=["pubmedqa"])


def test_there_is_no_recovered_fraction_and_a_reason_where_full_gains_nothing(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    worse = {
        key: replace(cell, losses=cell.losses + 0.6) if key[:2] == ("full", "asset") else cell
        for key, cell in cells.items()
    }
    found = compare(worse)
    part = entry_of(found, "g2is").by_target["asset"]
    assert np.isnan(part.recovered.fraction.value)
    assert part.recovered.reason == "full is not clearly better than random"
    assert "1%: no R on asset: full is not clearly better than random" in notes(found)


def test_a_method_with_fewer_seeds_is_compared_on_those_that_random_has_too_and_it_is_said(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    found = compare(without(cells, Key("g2is", "gsm8k", "1%", 1), Key("random", "gsm8k", "1%", 2)))
    part = entry_of(found, "g2is").by_target["gsm8k"]
    assert part.to_random.seeds == {"gsm8k": (0,)}
    expected = cells[Key("g2is", "gsm8k", "1%", 0)].loss - cells[Key("random", "gsm8k", "1%", 0)].loss
    assert part.to_random.difference.value == pytest.approx(expected)
    assert part.loss.value == pytest.approx(np.mean(losses_of(cells, "g2is", "gsm8k", "1%", (0, 2))))
    assert "1%: g2is is compared with random on the seeds that both have: 0 on gsm8k" in notes(found)


def test_the_full_pool_is_the_mean_of_all_its_seeds_wherever_it_is_compared(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    lacking = [key for key in cells if key.method == "random" and key.budget == "5%" and key.seed != 0]
    found = compare(without(cells, *lacking))
    ratios = [
        np.mean(losses_of(cells, "full", target, None)) / losses_of(cells, "random", target, "5%", (0,))[0]
        for target in ("gsm8k", "asset")
    ]
    full = entry_of(found, "full", "5%")
    assert full.mean.relative.value == pytest.approx(np.mean(ratios))
    assert full.by_target["gsm8k"].relative.value == pytest.approx(ratios[0])
    assert full.by_target["gsm8k"].loss.value == pytest.approx(np.mean(losses_of(cells, "full", "gsm8k", None)))
    told = "5%: full, the mean of all its seeds, is compared with random on those that it has: 0 on gsm8k, asset"
    assert told in notes(found)
    random, g2is = (losses_of(cells, method, "gsm8k", "5%", (0,))[0] for method in ("random", "g2is"))
    of_full = np.mean(losses_of(cells, "full", "gsm8k", None))
    recovered = entry_of(found, "g2is", "5%").by_target["gsm8k"].recovered
    assert recovered.fraction.value == pytest.approx((random - g2is) / (random - of_full))
    assert recovered.seeds == {"gsm8k": (0,)}


def test_a_full_pool_of_one_seed_serves_for_all(cells: dict[Key, Cell], compare: Compare) -> None:
    found = compare(without(cells, Key("full", "gsm8k", None, 1), Key("full", "gsm8k", None, 2)))
    recovered = entry_of(found, "g2is").by_target["gsm8k"].recovered
    random, g2is = (np.mean(losses_of(cells, method, "gsm8k", "1%")) for method in ("random", "g2is"))
    full = cells[Key("full", "gsm8k", None, 0)].loss
    assert recovered.fraction.value == pytest.approx((random - g2is) / (random - full))
    assert entry_of(found, "full").by_target["gsm8k"].num_done == 1
    assert entry_of(found, "full").mean.relative_range is None


def test_a_method_that_lacks_a_target_has_no_mean_and_comes_last(cells: dict[Key, Cell], compare: Compare) -> None:
    found = compare({key: cell for key, cell in cells.items() if key[:3] != ("less", "asset", "1%")})
    assert entry_of(found, "less").mean.relative is None
    assert entry_of(found, "less").by_target["gsm8k"].relative is not None
    assert found.entries["1%"][-2].method == "less"


def test_the_mean_is_over_the_targets_that_random_has_and_it_is_said(cells: dict[Key, Cell], compare: Compare) -> None:
    found = compare({key: cell for key, cell in cells.items() if key[:3] != ("random", "asset", "1%")})
    assert found.mean_targets == {"1%": ("gsm8k",), "5%": ("gsm8k", "asset")}
    entry = entry_of(found, "g2is")
    assert entry.mean.relative == entry.by_target["gsm8k"].relative
    assert any(note.startswith("1%: the mean is over gsm8k alone") for note in notes(found))


def test_every_part_of_a_grid_can_be_missing(cells: dict[Key, Cell], compare: Compare) -> None:
    keys = list(cells)
    for chosen in ([], keys[:1], keys[::7], [key for key in keys if key.method == "untuned"], keys[20:23]):
        found = compare({key: cells[key] for key in chosen})
        assert (len(found.cells), len(found.missing)) == (len(chosen), len(keys) - len(chosen))


def test_the_order_of_the_cells_changes_nothing(cells: dict[Key, Cell], compare: Compare) -> None:
    listed = list(cells.values())
    shuffled = [listed[place] for place in np.random.default_rng(0).permutation(len(listed))]
    assert compare(iter(shuffled)).entries == compare(iter(listed)).entries


def test_another_target_or_method_beside_it_does_not_move_a_method_s_interval(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    small = Grid(("g2is", "random"), ("asset",), ("1%",), (0, 1, 2))
    alone = compare({key: cell for key, cell in cells.items() if key in small.planned()}, grid=small)
    one, other = (entry_of(found, "g2is").by_target["asset"] for found in (alone, compare(cells)))
    for name in ("value", "low", "high"):
        assert getattr(one.to_random.difference, name) == pytest.approx(
            getattr(other.to_random.difference, name), rel=1e-9
        )


def test_any_two_methods_are_compared_on_every_target_and_on_the_mean(cells: dict[Key, Cell], compare: Compare) -> None:
    found = compare(cells)
    pair = next(
        p for p in found.pairs if (p.budget, p.targets, p.method, p.other) == ("1%", ("gsm8k",), "g2is", "less")
    )
    expected = np.mean(losses_of(cells, "g2is", "gsm8k", "1%")) - np.mean(losses_of(cells, "less", "gsm8k", "1%"))
    assert pair.contrast.difference.value == pytest.approx(expected)
    assert len(found.pairs) == 2 * 3 * (6 * 5 // 2)  # budgets, two targets and their mean, pairs of the six methods run


def test_a_tuning_that_diverged_has_no_loss_and_the_others_keep_theirs(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    key = Key("g2is", "gsm8k", "1%", 1)
    cells[key] = replace(cells[key], losses=np.full(200, np.nan))
    found = compare(cells)
    assert np.isnan(entry_of(found, "g2is").mean.relative.value)
    assert entry_of(found, "less").mean.to_random.verdict == "better"
    assert found.entries["1%"][-2].method == "g2is"
    assert "g2is on gsm8k at 1%, seed 1: the test loss is not finite" in notes(found)


def test_a_seed_that_diverged_has_no_range_either(cells: dict[Key, Cell], compare: Compare) -> None:
    for seed in (0, 2):
        key = Key("g2is", "gsm8k", "1%", seed)
        broken = {**cells, key: replace(cells[key], losses=np.full(200, np.nan))}
        found = entry_of(compare(broken), "g2is")
        assert np.isnan(found.mean.relative_range).all()
        assert np.isnan(found.by_target["gsm8k"].loss_range).all()


def test_the_range_over_seeds_is_of_each_seed_s_loss_over_that_of_random_rows_with_that_seed(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    ratios = [
        np.divide(losses_of(cells, "g2is", target, "1%"), losses_of(cells, "random", target, "1%"))
        for target in ("gsm8k", "asset")
    ]
    by_seed = np.mean(ratios, axis=0)
    found = compare(cells)
    assert entry_of(found, "g2is").mean.relative_range == pytest.approx((by_seed.min(), by_seed.max()))
    assert entry_of(found, "random").mean.relative_range is None


def test_one_test_example_has_no_interval_and_no_verdict_and_few_are_remarked_on(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    def cut(size: int) -> Comparison:
        return compare(
            {
                key: replace(cell, losses=cell.losses[:size], num_learned=cell.num_learned[:size], metrics={})
                for key, cell in cells.items()
            }
        )

    part = entry_of(cut(1), "g2is").by_target["gsm8k"]
    assert np.isfinite(part.loss.value)
    assert np.isnan([part.loss.low, part.loss.high]).all()
    assert part.to_random.verdict == "unclear"
    assert "full is not clearly better" in part.recovered.reason
    assert "gsm8k: one test example has no interval; give at least 30" in notes(cut(1))
    assert "gsm8k: intervals of 29 test examples are too narrow; give at least 30" in notes(cut(29))
    assert not any("too narrow" in note for note in notes(cut(30)))


def test_a_verdict_that_some_seeds_contradict_is_told(cells: dict[Key, Cell], compare: Compare) -> None:
    key = Key("g2is", "gsm8k", "1%", 1)
    cells[key] = replace(cells[key], losses=cells[key].losses + 0.35)
    part = entry_of(compare(cells), "g2is").by_target["gsm8k"]
    assert (part.to_random.verdict, part.to_random.num_agreeing, part.to_random.num_seeds) == ("better", 2, 3)
    assert any(
        "g2is is better than random on gsm8k" in note and "2 of 3 seeds" in note for note in notes(compare(cells))
    )


def test_selections_of_a_method_are_compared_over_seeds_and_with_other_methods(
    cells: dict[Key, Cell], compare: Compare
) -> None:
    found = compare(cells)
    assert entry_of(found, "less").mean.stability.jaccard > entry_of(found, "g2is").mean.stability.jaccard
    assert entry_of(found, "full").mean.stability is None
    assert found.overlaps["1%", "gsm8k"].methods == ["g2is", "less", "rds+", "random"]


def test_cells_tested_on_other_examples_are_refused(cells: dict[Key, Cell], compare: Compare) -> None:
    key = Key("less", "gsm8k", "1%", 1)
    cells[key] = replace(cells[key], losses=np.ones(3), num_learned=np.ones(3, int), metrics={})
    with pytest.raises(InputError, match="expected every cell to be tested on the same examples"):
        compare(cells)
