"""A cell, its file, and the grid it belongs to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2is.comparison.cells import Cell, Key, read_cell, write_cell
from g2is.comparison.grid import Grid, arrange
from g2is.errors import ConfigError, InputError, StoreError


def small_cell(**changes: Any) -> Cell:
    values: dict[str, Any] = {
        "method": "g2is",
        "target": "gsm8k",
        "budget": "1%",
        "seed": 2,
        "losses": np.array([1.0, 3.0, np.nan]),
        "num_learned": np.array([3, 1, 0]),
        "metrics": {"exact_match": np.array([1.0, np.nan, 0.0]), "numeric_match": np.full(3, np.nan)},
        "rows": np.array([7, 3]),
        "num_tokens": 40,
        "num_steps": 2,
        "seconds": {"select": 0.5},
    }
    return Cell(**(values | changes))


def test_the_test_loss_weighs_examples_by_their_answer_tokens_and_one_without_any_counts_nothing() -> None:
    assert small_cell().loss == pytest.approx((1.0 * 3 + 3.0 * 1) / 4)


def test_a_metric_is_averaged_over_the_examples_it_applies_to_and_absent_where_it_applies_to_none() -> None:
    assert small_cell().means() == {"exact_match": 0.5}


def test_a_cell_read_back_is_the_cell_that_was_written_bit_for_bit(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    cell = small_cell(
        losses=np.array([numbers.random(), np.inf, np.nan]),
        num_learned=np.array([3, 1, 0]),
        metrics={"rouge_l": numbers.random(3)},
    )
    write_cell(tmp_path / "cell.json", cell)
    found = read_cell(tmp_path / "cell.json")
    assert found.key == cell.key
    for name in ("losses", "num_learned", "rows"):
        np.testing.assert_array_equal(getattr(found, name), getattr(cell, name), strict=True)
    np.testing.assert_array_equal(found.metrics["rouge_l"], cell.metrics["rouge_l"], strict=True)
    assert (found.num_tokens, found.num_steps, found.seconds) == (40, 2, {"select": 0.5})


def test_a_cell_file_is_strict_json_with_what_people_read_before_the_arrays(tmp_path: Path) -> None:
    write_cell(tmp_path / "cell.json", small_cell())
    text = (tmp_path / "cell.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    values = json.loads(text, parse_constant=refuse)
    names = list(values)
    assert names.index("loss") < names.index("means") < names.index("seconds") < names.index("losses")
    assert values["losses"] == [1.0, 3.0, None]
    assert len(text.splitlines()) == len(names) + 2


def test_untuned_has_no_rows_and_full_has_all() -> None:
    assert small_cell().num_rows(50) == 2
    assert small_cell(method="untuned", budget=None, seed=None, rows=None).num_rows(50) == 0
    assert small_cell(method="full", budget=None, rows=None).num_rows(50) == 50


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"num_learned": np.array([3, 1])}, r"g2is on gsm8k at 1%, seed 2: .*num_learned \(2,\)"),
        ({"metrics": {"rouge_l": np.zeros(4)}}, r"rouge_l \(4,\)"),
        ({"num_learned": np.zeros(3, int)}, "with 0 answer tokens"),
        ({"losses": np.zeros(0), "num_learned": np.zeros(0, int), "metrics": {}}, "found 0 examples"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(changes: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        small_cell(**changes)


@pytest.mark.parametrize(
    "text", ["{}", '{"method": 3', "[]", '{"method": "a", "target": "b", "budget": null, "seed": 1, "losses": 3}']
)
def test_a_file_that_is_no_cell_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "cell.json").write_text(text)
    with pytest.raises(StoreError, match=r"cell\.json"):
        read_cell(tmp_path / "cell.json")


def test_untuned_is_planned_once_a_target_and_full_once_a_target_and_seed() -> None:
    grid = Grid(("random", "untuned", "full", "full-cut"), ("a", "b"), ("1%", "5%"), (0, 1, 2))
    planned = grid.planned()
    assert len(planned) == len(set(planned)) == 2 * (2 * 3 * 2 + 1 + 3)
    assert Key("untuned", "a", None, None) in planned
    assert Key("full", "b", None, 2) in planned
    assert Key("full-cut", "b", "5%", 1) in planned


def test_a_grid_without_random_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected random among the methods.*found g2is, full"):
        Grid(("g2is", "full"), ("a",), ("1%",), (0,))


@pytest.mark.parametrize("changes", [{"seeds": ()}, {"targets": ("a", "a")}])
def test_a_grid_with_an_empty_list_or_one_thing_twice_is_refused(changes: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        Grid(**({"methods": ("random",), "targets": ("a",), "budgets": ("1%",), "seeds": (0,)} | changes))


def test_cells_of_a_target_with_other_numbers_of_test_examples_are_refused_and_both_named(
    cells: dict[Key, Cell], grid: Grid
) -> None:
    key = Key("less", "gsm8k", "1%", 1)
    cells[key] = replace(cells[key], losses=np.ones(199), num_learned=np.ones(199, int), metrics={})
    with pytest.raises(InputError, match=r"200 in g2is on gsm8k at 1%, seed 0, 199 in less on gsm8k at 1%, seed 1"):
        arrange(cells.values(), grid)


def test_cells_of_a_target_with_other_answers_are_refused_and_the_example_named(
    cells: dict[Key, Cell], grid: Grid
) -> None:
    key = Key("less", "asset", "5%", 1)
    num_learned = cells[key].num_learned.copy()
    num_learned[17] += 1
    cells[key] = replace(cells[key], num_learned=num_learned)
    with pytest.raises(InputError, match=r"test example 17 .* in less on asset at 5%, seed 1"):
        arrange(cells.values(), grid)


def test_a_cell_that_comes_twice_is_refused_and_one_of_another_grid_is_left_out(
    cells: dict[Key, Cell], grid: Grid
) -> None:
    listed = list(cells.values())
    with pytest.raises(InputError, match="found it twice"):
        arrange([*listed, listed[3]], grid)
    done, outside = arrange([*listed, replace(listed[0], seed=9)], grid)
    assert (len(done), outside) == (len(cells), [listed[0].key._replace(seed=9)])
