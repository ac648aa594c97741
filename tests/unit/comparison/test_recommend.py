"""Which method is recommended, and when the evidence is too thin, on cells whose losses are known."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from g2is.comparison.cells import Cell, Key
from g2is.comparison.evidence import Comparison, compare_cells
from g2is.comparison.grid import Grid
from g2is.comparison.recommend import Recommendation, recommend
from g2is.comparison.terminal import show_recommendations
from g2is.methods import FULL, RANDOM, UNTUNED

SECONDS = {"less": 100.0, "rds+": 10.0, "bm25": 1.0}


def compared(
    effects: Mapping[str, float | tuple[float, ...]],
    seeds: tuple[int, ...] = (0, 1, 2),
    num_test: int = 60,
    targets: tuple[str, ...] = ("t",),
    left_out: tuple[Key, ...] = (),
    broken: tuple[Key, ...] = (),
    remarks: tuple[str, ...] = (),
) -> Comparison:
    """One budget; each method's loss is that of random rows plus its effect, of each seed if there are several."""
    grid = Grid(tuple(dict.fromkeys((*effects, UNTUNED, RANDOM, FULL))), targets, ("1%",), seeds)
    cells = []
    for key in grid.planned():
        if key in left_out:
            continue
        of_test = np.random.default_rng([3, *key.target.encode()]).normal(2.0, 0.3, num_test)
        own = np.random.default_rng([key.seed or 0, *key.method.encode()]).normal(0, 0.01, num_test)
        effect = {UNTUNED: 0.5, FULL: -0.6, RANDOM: 0.0, **effects}[key.method]
        of_seed = effect if isinstance(effect, float) else effect[seeds.index(key.seed or 0)]
        if key in broken:
            of_test[0] = np.nan
        selected = None if key.method in (UNTUNED, FULL) else np.arange(10)
        cells.append(
            Cell(
                *(*key, of_test + own + of_seed, np.full(num_test, 5), {}, selected, 100, 1),
                {"represent": SECONDS.get(key.method, 0.0), "select": 0.0},
            )
        )
    return compare_cells(cells, grid, 1000, {}, {}, remarks, num_resamples=400)


def only(comparison: Comparison) -> Recommendation:
    (found,) = recommend(comparison)
    return found


def test_a_method_better_than_all_others_is_clearly_recommended() -> None:
    found = only(compared({"less": -0.4, "rds+": -0.2, "bm25": 0.2}))
    assert (found.method, found.standing, found.as_good, found.cheaper) == ("less", "clear", (), None)
    assert "better than rds+, bm25" in found.evidence
    assert any("3 of 3 seeds" in told and "÷ random 0.79" in told for told in found.evidence)
    assert any("of what the full pool gains" in told and "10 of its 1,000 rows" in told for told in found.evidence)
    assert [told for told in found.doubts if "looks better than it is" not in told] == []


def test_seeds_are_not_said_to_agree_with_what_is_not_told() -> None:
    found = only(compared({"less": (-0.026, 0.016)}, seeds=(0, 1), num_test=3))
    told = found.evidence[0]
    assert "not told apart from random; " in told
    assert told.endswith("; lower with 1 of 2 seeds taken alone")


def test_a_comparison_of_random_rows_alone_is_not_to_be_given_again() -> None:
    assert "; name some with --methods" in only(compared({})).doubts[0]
    missing = compared({"less": -0.4}, left_out=tuple(Key("less", "t", "1%", seed) for seed in (0, 1, 2)))
    assert "; give `g2is compare` again" in only(missing).doubts[0]


def test_methods_that_are_not_told_apart_are_named_and_the_cheaper_one_too() -> None:
    found = only(compared({"less": -0.301, "rds+": -0.3, "bm25": -0.1}))
    assert found.standing == "shared"
    assert {found.method, *found.as_good} == {"less", "rds+"}
    assert found.cheaper == ("rds+" if found.method == "less" else None)


def test_where_seeds_disagree_methods_are_not_told_apart() -> None:
    found = only(compared({"less": (-0.5, -0.5, -0.1), "rds+": -0.2}))
    assert (found.method, found.as_good) == ("less", ("rds+",))


def test_what_is_not_shown_to_be_better_than_random_is_not_recommended() -> None:
    found = only(compared({"less": (-0.3, -0.3, 0.3), "rds+": 0.2}))
    assert (found.method, found.standing) == (RANDOM, "thin")
    assert found.as_good == ("less",)
    assert any("not shown to be better than random" in told for told in found.doubts)
    worse = only(compared({"rds+": 0.2}))
    assert (worse.method, worse.as_good) == (RANDOM, ())


def test_a_method_shown_to_be_better_goes_before_one_of_lower_mean_whose_seeds_disagree() -> None:
    found = only(compared({"less": (-1.5, -0.5, 0.3), "rds+": -0.2}))
    assert (found.method, found.as_good) == ("rds+", ("less",))
    assert any(told.startswith("less has the lowest loss") for told in found.doubts)


@pytest.mark.parametrize(
    ("options", "doubt"),
    [
        ({"seeds": (0,)}, "1 seed: the next may say otherwise; use --seeds 3"),
        ({"num_test": 12}, "12 test examples of t: too few for an interval; give 30"),
        ({"left_out": (Key("less", "t", "1%", 2),)}, "1 cell missing, such as less on t at 1%, seed 2"),
        ({"targets": ("t", "u"), "left_out": tuple(Key(RANDOM, "u", "1%", seed) for seed in range(3))},
         "nothing is known of u"),
    ],
)  # fmt: skip
def test_thin_evidence_is_called_so_with_what_would_mend_it(options: dict[str, object], doubt: str) -> None:
    found = only(compared({"less": -0.4, "rds+": -0.2}, **options))  # type: ignore[arg-type]
    assert (found.method, found.standing) == ("less", "thin")
    assert any(doubt in told for told in found.doubts)


@pytest.mark.parametrize("targets", [("t",), ("t", "u")])
def test_the_evidence_is_thin_as_long_as_another_method_s_cell_is_missing(targets: tuple[str, ...]) -> None:
    """It might be the better one: of what it lacks, nothing is known."""
    found = only(compared({"less": -0.5, "rds+": -0.2}, targets=targets, left_out=(Key("rds+", "t", "1%", 1),)))
    assert (found.method, found.standing) == ("less", "thin")
    none_of_it = tuple(Key("rds+", "t", "1%", seed) for seed in range(3))
    found = only(compared({"less": -0.5, "rds+": -0.9}, targets=targets, left_out=none_of_it))
    assert (found.method, found.standing) == ("less", "thin")
    found = only(compared({"less": -0.5, "rds+": -0.2}, targets=targets, left_out=(Key(FULL, "t", None, 1),)))
    assert found.standing == "clear"


def test_what_is_worse_than_random_is_not_named_as_the_cheaper_one() -> None:
    found = only(compared({"less": -0.1, "bm25": (0.5, 0.5, -0.2)}))
    assert (found.method, found.as_good, found.cheaper) == ("less", ("bm25",), None)


def test_a_target_on_which_the_best_is_worse_than_random_is_named() -> None:
    comparison = compared({"less": -0.4}, targets=("t", "u"))
    cells = [
        replace(cell, losses=cell.losses + 0.5) if cell.key[:2] == ("less", "u") else cell
        for cell in comparison.cells.values()
    ]
    worse = compare_cells(cells, comparison.grid, 1000, {}, {}, num_resamples=400)
    assert any(told.startswith("on u it is worse than random") for told in only(worse).doubts)


def test_tuning_that_does_not_help_is_said() -> None:
    found = only(compared({"less": -0.2, UNTUNED: -0.4}))
    assert any("not tuning at all" in told for told in found.doubts)


def test_nothing_to_compare_recommends_nothing() -> None:
    found = only(compared({}))
    assert (found.method, found.standing, found.evidence) == (None, "thin", ())


def test_every_budget_is_printed_with_evidence_and_doubts(
    cells: dict[Key, Cell], compare: Callable[..., Comparison]
) -> None:
    text = io.StringIO()
    show_recommendations(recommend(compare(cells)), Console(file=text, width=80, color_system=None))
    shown = text.getvalue()
    assert "At 1%: " in shown
    assert "At 5%: take g2is, which is better than every other method compared" in " ".join(shown.split())
    assert shown.count("Evidence") == shown.count("What it lacks") == 2
    assert max(map(len, shown.splitlines())) <= 80


def test_what_is_known_of_the_test_rows_is_a_doubt() -> None:
    remark = "60 of the 150 test rows of t are in the pool, too, which flatters who finds them"
    assert only(compared({"less": -0.5}, remarks=(remark,))).doubts[0] == remark


def test_a_method_whose_loss_is_no_number_is_named_and_makes_the_evidence_thin() -> None:
    effects = {"less": -0.5, "rds+": -0.9}
    assert only(compared(effects)).standing == "clear"
    found = only(compared(effects, broken=(Key("rds+", "t", "1%", 1),)))
    assert (found.method, found.standing) == ("less", "thin")
    assert "rds+ is not compared: a test loss of it is no finite number" in found.doubts
    alone = only(compared({"less": -0.5}, broken=(Key("less", "t", "1%", 1),)))
    assert (alone.method, alone.standing) == (None, "thin")
    assert alone.doubts == ("less is not compared: a test loss of it is no finite number",)


@pytest.mark.filterwarnings("error")
def test_where_random_rows_have_no_finite_loss_no_method_is_blamed() -> None:
    found = only(compared({"less": -0.5, "rds+": -0.1}, broken=(Key(RANDOM, "t", "1%", 1),)))
    assert found.method is None
    assert found.doubts == (f"nothing can be compared: a test loss of {RANDOM} is no finite number",)


def test_where_targets_share_no_seed_that_is_said() -> None:
    left_out = [Key(of, target, "1%", seed) for of in ("less", RANDOM) for target, seed in (("a", 1), ("b", 0))]
    found = only(compared({"less": -0.5}, seeds=(0, 1), targets=("a", "b"), left_out=tuple(left_out)))
    assert "no seed is finished on every target" in found.evidence[0]
    assert any(told.startswith("each target has other seeds") for told in found.doubts)
    assert not any("0 seeds" in told or "0 of 0" in told for told in (*found.evidence, *found.doubts))
