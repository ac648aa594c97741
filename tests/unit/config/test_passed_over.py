"""Settings that change nothing under a method are told of."""

from typing import Any

import pytest

from g2is.config import ExecutionConfig, SelectionConfig
from g2is.config.evaluation import EvaluationConfig
from g2is.config.passed_over import without_use, without_use_in_test, without_use_in_training


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"method": "random", "duplicate_threshold": 0.9},
            ["selection.duplicate_threshold: 0.9 changes nothing, for the selector random looks at no vectors"],
        ),
        (
            {"method": "bm25", "duplicate_threshold": 0.9, "form": "less"},
            [
                "selection.form: less changes nothing, for the representation lexical looks at no gradients",
                "selection.duplicate_threshold: 0.9 changes nothing, for the representation lexical looks at no"
                " vectors",
            ],
        ),
        (
            {"method": "embedding", "duplicate_threshold": 0.9, "form": "less"},
            ["selection.form: less changes nothing, for the representation embedding looks at no gradients"],
        ),
        (
            {"method": "full", "budget": "100tok"},
            ["selection.budget: 100tok changes nothing, for the selector all takes all rows"],
        ),
        ({"method": "less", "duplicate_threshold": 0.9, "form": "sgd"}, []),
        ({"method": "official", "representation": "embedding"}, []),  # the method's own form was not asked for
        ({"selector": "own:mine", "duplicate_threshold": 0.9, "form": "sgd"}, []),  # it may look at anything
    ],
)
def test_what_is_for_vectors_or_gradients_is_told_of_where_neither_is_looked_at(
    settings: dict[str, Any], told: list[str]
) -> None:
    assert without_use(SelectionConfig(**settings).model_dump()) == told


@pytest.mark.parametrize("method", ["design", "less", "random", "full", "bm25", "rds+", "official", "tacs"])
def test_a_method_as_it_is_has_nothing_to_tell_of(method: str) -> None:
    assert not without_use(SelectionConfig(method=method).model_dump())


def test_what_a_training_and_a_test_do_not_look_at_is_told() -> None:
    assert not without_use_in_training(ExecutionConfig())
    assert not without_use_in_test(ExecutionConfig(batch_tokens=64), EvaluationConfig(max_new_tokens=3))
    elsewhere = ExecutionConfig(engine="ray", workers=4, report_to="tensorboard", batch_tokens=64)
    assert without_use_in_training(elsewhere) == [
        "execution.engine, execution.workers, execution.batch_tokens: set, but not looked at here"
    ]
    assert without_use_in_test(elsewhere, EvaluationConfig(generate=False, numeric="math-verify")) == [
        "execution.engine, execution.workers, execution.report_to: set, but not looked at here",
        "evaluation.numeric: set, but not looked at here",
    ]
