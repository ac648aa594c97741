"""The noise by which the page says what a row is still worth: that of the selection itself."""

from collections.abc import Callable

import numpy as np

from g2is.config import SelectionConfig
from g2is.examples.dataset import Examples
from g2is.examples.filter import filter_pool, read_lists
from g2is.examples.table import ExampleTable
from g2is.jobs.read_data import plan_for
from g2is.jobs.report import _noises
from g2is.selection.pick import pick
from g2is.selection.problem import Problem
from g2is.selection.selectors.design import DesignSettings, design
from g2is.selection.similarity import UnitRows


def test_a_target_that_got_what_another_left_has_the_noise_that_it_was_chosen_with(
    read_table: Callable[..., ExampleTable],
) -> None:
    pool = read_table(*((f"question {n}", "1 " * (1 + n)) for n in range(10)))
    of_targets = {name: read_table((name, name), name=f"{name}.jsonl") for name in ("x", "y")}
    examples = Examples(filter_pool(pool, read_lists([]), read_lists([])), of_targets)
    settings = SelectionConfig(budget="8", noise="proportional", duplicate_threshold=None)
    plan = plan_for(settings, examples)
    rows = np.eye(4, dtype=np.float32)[[0, 0, *[1] * 8]]  # two agree with x, and eight with y
    targets = {"x": rows[:1], "y": rows[-1:]}
    costs, open_rows, units = plan.limits.costs(10), np.ones(10, bool), UnitRows(rows)
    problems = [
        Problem(name, budget, costs, open_rows, settings, units, targets[name])
        for name, budget in plan.target_budgets.items()
    ]
    steps = pick(problems, design, plan.limits).steps
    target_of = np.array(["xy".index(str(step.target)) for step in steps])
    assert np.bincount(target_of).tolist() == [2, 6]  # of four each
    found = _noises(settings, examples, np.array([step.row for step in steps]), target_of)
    assert found == [settings.part(DesignSettings).noise_at(problem.share) for problem in problems]
    assert found[1] > found[0]
