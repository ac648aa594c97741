"""Settings that change nothing under a method are told of."""

from typing import Any

import pytest

from g2is.config import SelectionConfig
from g2is.config.passed_over import without_use


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
