"""`official` returns the rows of the authors' script in its order: the cases of ../shared/golden/README.md."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2is.config import SelectionConfig
from g2is.selection.budget import parse_budget, share_budget
from g2is.selection.core import core_knowledge
from g2is.selection.walk import walk

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
CASES = ("clusters", "mixed", "runs_dry", "count_ratio", "strict_delta", "knn_fallback")

pytestmark = pytest.mark.skipif(
    not (GOLDEN / "expected.json").exists(), reason=f"the authors' outputs are not at {GOLDEN}"
)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return json.loads((GOLDEN / "expected.json").read_text())


def settings_of(case: dict[str, Any]) -> SelectionConfig:
    return SelectionConfig(
        method="official",
        budget=f"{case['budget_fraction'] * 100:g}%",
        core_mode=case["pca_mode"],
        core_fraction=case["core_fraction"],
        delta=case["delta"],
    )


def test_no_golden_case_is_left_out(expected: dict[str, Any]) -> None:
    assert set(expected) == set(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_official_selects_the_rows_of_the_authors_script_in_its_order(
    expected: dict[str, Any], name: str, dtype: type[np.floating[Any]]
) -> None:
    case = expected[name]
    settings = settings_of(case)
    pool = np.load(GOLDEN / f"{name}.pool.npy").astype(dtype)
    core = core_knowledge(np.load(GOLDEN / f"{name}.target.npy").astype(dtype), settings)
    graph = np.load(GOLDEN / case["graph"]) if "graph" in case else None
    budget = parse_budget(settings.budget, len(pool))

    assert share_budget(budget, core.variance.tolist()) == case["budgets"]
    result = walk(pool, core, budget, settings, graph=graph)

    assert result.rows.tolist() == case["rows"]
    assert result.budgets == case["budgets"]
    assert (result.ran_out is None) == (len(case["rows"]) == budget)


def test_the_case_with_a_truncated_graph_does_fall_back(expected: dict[str, Any]) -> None:
    case = expected["knn_fallback"]
    settings = settings_of(case)
    pool = np.load(GOLDEN / "knn_fallback.pool.npy")
    core = core_knowledge(np.load(GOLDEN / "knn_fallback.target.npy"), settings)
    graph = np.load(GOLDEN / case["graph"])

    with_graph = walk(pool, core, sum(case["budgets"]), settings, graph=graph)
    without = walk(pool, core, sum(case["budgets"]), settings)

    assert sum(step.role == "fallback" for step in with_graph.steps) >= 2
    assert not any(step.role == "fallback" for step in without.steps)
    assert without.rows.tolist() != case["rows"]
