"""The grid of methods: names, settings, and what the configuration makes of them."""

import pytest
from pydantic import ValidationError

from g2is.config import Config, SelectionConfig
from g2is.config.io import parse
from g2is.methods import (
    GRADIENT,
    METHODS,
    NONE,
    REPRESENTATIONS,
    SELECTORS,
    RepresentationKind,
    SelectorKind,
    registered,
)

REQUIRED = {"pool": "p.jsonl", "target": "t.jsonl", "out": "run", "model": {"name": "m"}}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_representation_and_a_selector_that_fit(name: str) -> None:
    settings = SelectionConfig(method=name)
    assert settings.representation in (GRADIENT, *REPRESENTATIONS, NONE)
    assert settings.selector in SELECTORS
    assert METHODS[name].line


@pytest.mark.parametrize("place", [*SELECTORS.values(), *REPRESENTATIONS.values()])
def test_everything_registered_is_where_its_line_says(place: str) -> None:
    kind = registered(place)
    assert isinstance(kind, SelectorKind | RepresentationKind)
    made = (kind.make,) if isinstance(kind, RepresentationKind) else (kind.select, kind.select_jointly)
    assert sum(map(callable, made)) == 1


def test_the_grid_of_the_paper_s_methods() -> None:
    cells = {
        name: (SelectionConfig(method=name).representation, SelectionConfig(method=name).selector) for name in METHODS
    }
    assert (
        cells
        | {
            "g2is": ("gradient", "walk"),
            "official": ("gradient", "walk"),
            "less": ("gradient", "top"),
            "less-rr": ("gradient", "round-robin"),
            "rds+": ("hidden", "round-robin"),
            "embedding": ("embedding", "top"),
            "bm25": ("lexical", "top"),
            "random": ("none", "random"),
            "full": ("none", "all"),
            "without-graph": ("gradient", "top"),
            "without-gradient": ("embedding", "walk"),
        }
        == cells
    )


def test_a_setting_that_is_given_counts_more_than_the_method_s() -> None:
    assert SelectionConfig(method="less", selector="round-robin").selector == "round-robin"


def test_the_form_that_a_method_looks_at_is_stored() -> None:
    config = parse(Config, REQUIRED, "x")
    assert (config.selection.method, config.selection.selector) == ("design", "design")
    assert config.gradients.forms == ("momentum-free", "less")  # so that every method can be used on the same store
    assert config.pool_form == "momentum-free"
    assert parse(Config, REQUIRED | {"selection": {"method": "less"}}, "x").pool_form == "less"
    assert parse(Config, REQUIRED | {"selection": {"method": "g2is"}}, "x").pool_form == "momentum-free"
    config = parse(Config, REQUIRED | {"selection": {"form": "adam"}}, "x")
    assert config.gradients.forms == ("adam",) == (config.pool_form,)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"method": "rds"}, r"unknown method 'rds'; did you mean rds\+\?"),
        ({"selector": "tip"}, "unknown selector 'tip'; did you mean top"),
        ({"representation": "pixels"}, "unknown representation 'pixels'; known: gradient, hidden"),
        ({"method": "own:mine"}, "unknown method"),
        ({"representation": "none"}, "selector design: expected a representation to look at, found none"),
        ({"representation": "lexical"}, "BM25 has scores and no vectors; found the selector design"),
        ({"method": "bm25", "score": "core"}, "found score: core"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(settings: dict[str, str], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        SelectionConfig(**settings)


def test_a_user_s_own_selector_and_representation_may_have_any_name() -> None:
    settings = SelectionConfig(selector="own:mine", representation="own:theirs")
    assert (settings.selector, settings.representation) == ("own:mine", "own:theirs")
