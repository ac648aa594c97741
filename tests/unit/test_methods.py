"""The grid of methods: names, settings, and what the configuration makes of them."""

from typing import Any, Self

import pytest
from pydantic import ValidationError, field_validator, model_validator

from g2is.api import select
from g2is.config import Config, SelectionConfig
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.config.passed_over import not_read
from g2is.config.section import composed
from g2is.errors import ConfigError
from g2is.methods import (
    GRADIENT,
    METHODS,
    NONE,
    REPRESENTATIONS,
    SELECTORS,
    RepresentationKind,
    Section,
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
            "tacs": ("tacs", "top"),
            "random": ("none", "random"),
            "full": ("none", "all"),
            "interaction": ("gradient", "interaction"),
            "spice": ("gradient", "spice"),
            "bids": ("gradient", "bids"),
            "tsds": ("gradient", "knn"),
            "knn-kde": ("gradient", "knn"),
            "knn-uniform": ("gradient", "knn"),
            "uot": ("gradient", "uot"),
            "without-graph": ("gradient", "top"),
            "without-gradient": ("embedding", "walk"),
        }
        == cells
    )


def test_a_run_s_record_of_before_a_setting_came_keeps_the_meaning_that_it_was_made_with() -> None:
    assert SelectionConfig(method="rds+").if_taken == "lose-turn"
    assert SelectionConfig(method="less-rr").if_taken == "next-row"
    record = SelectionConfig(method="rds+").model_dump()
    assert SelectionConfig(**record).if_taken == "lose-turn"
    del record["if_taken"]
    assert SelectionConfig(**record).if_taken == "next-row"


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


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"method": "less", "noise": 5.0},
            "selection.noise: expected the selector design, which looks at it, found top",
        ),
        ({"core": "pca"}, "selection.core: expected the selector walk, which looks at it, found design; take the"),
        ({"method": "less", "core": "pca"}, "selection.core: expected the selector walk"),
        (
            {"method": "random", "delta": 0.1, "exact_budget": False},
            "selection.exact_budget, selection.delta: expected",
        ),
        ({"method": "g2is", "seed": 1}, "selection.seed: expected the selector random"),
        ({"method": "bm25", "precondition": "pool"}, "selection.precondition: expected the representation gradient"),
        ({"method": "less", "precondition_damping": 1.0}, "expected selection.precondition beside it, found none"),
    ],
)
def test_a_setting_that_the_selector_does_not_read_is_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        SelectionConfig(**settings)
    with pytest.raises(ConfigError, match=expected):
        parse(Config, REQUIRED | {"selection": settings}, "x")
    with pytest.raises(ConfigError, match=expected):
        select(pool="p", target="t", model="m", out="o", selection=settings)  # type: ignore[arg-type]


def test_what_is_at_its_default_or_the_method_s_own_may_be_said_of_any_selector() -> None:
    everything = SelectionConfig(method="less").model_dump()
    assert everything["noise"] == 1.0
    assert SelectionConfig(**everything) == SelectionConfig(method="less")  # as a run's config.yaml has it
    assert SelectionConfig(method="official", selector="top").core == "pca"  # the method's, for its own selector
    assert SelectionConfig(method="without-graph", core="mean").core == "mean"  # it ranks by core knowledge
    assert SelectionConfig(selector="own:mine", noise=5.0, delta=0.1).noise == 5.0  # which may look at any


def test_a_representation_s_setting_is_refused_where_another_one_is_used() -> None:
    with pytest.raises(ConfigError, match=r"representation.max_terms: expected the representation lexical.*gradient"):
        parse(Config, REQUIRED | {"representation": {"max_terms": 5}}, "x")
    lexical = {"selection": {"method": "bm25"}, "representation": {"max_terms": 5}}
    assert parse(Config, REQUIRED | lexical, "x").representation.max_terms == 5


def test_a_comparison_gives_each_method_what_it_reads_and_refuses_what_none_reads() -> None:
    compared = {"pool": "p", "targets": "t", "tests": "t", "out": "o", "model": {"name": "m"}, "methods": "design,less"}
    config = parse(CompareConfig, compared | {"selection": {"noise": 0.5}}, "x")
    assert config.selection_of("design", "1%", 2).noise == 0.5
    assert config.selection_of("less", "1%", 2).noise == 1.0
    assert [config.selection_of(name, "1%", 2).seed for name in ("random", "less")] == [2, 0]
    with pytest.raises(ConfigError, match=r"selection.delta: expected the selector walk"):
        parse(CompareConfig, compared | {"selection": {"delta": 0.5}}, "x")


def test_a_comparison_preconditions_for_the_methods_that_look_at_gradients() -> None:
    compared = {"pool": "p", "targets": "t", "tests": "t", "out": "o", "model": {"name": "m"}}
    methods = {"methods": "design,rds+,bm25,trackstar"}
    config = parse(CompareConfig, compared | methods | {"selection": {"precondition": "pool"}}, "x")
    found = {name: config.selection_of(name, "1%", 0).precondition for name in config.all_methods[1:-2]}
    assert found == {"random": None, "design": "pool", "rds+": None, "bm25": None, "trackstar": "pool"}
    config = parse(CompareConfig, compared | methods | {"selection": {"precondition_mix": 0.5}}, "x")
    assert [config.selection_of(name, "1%", 0).precondition_mix for name in ("design", "trackstar")] == [0.0, 0.5]
    for settings, expected in (
        ({"precondition": "pool"}, "selection.precondition: expected the representation gradient"),
        ({"precondition_mix": 0.5}, "selection.precondition_mix: expected the representation gradient"),
    ):
        with pytest.raises(ConfigError, match=expected):
            parse(CompareConfig, compared | {"methods": "rds+", "selection": settings}, "x")
    with pytest.raises(ConfigError, match=r"selection.precondition_mix: expected selection.precondition beside it"):
        parse(CompareConfig, compared | {"methods": "design", "selection": {"precondition_mix": 0.5}}, "x")


@pytest.mark.parametrize(
    "settings",
    [
        # what some of a comparison's methods read and others may, but do not as they are
        {"methods": "g2is,less", "selection": {"core_fraction": 0.4}},
        {"methods": "less,without-graph", "selection": {"core": "mean"}},
        # a representation that the method's selector could not read, with a selector that can, and the other way round
        {"methods": {"x": {"method": "random", "selector": "top", "representation": "hidden"}}},
        {"methods": {"x": {"method": "bm25", "selector": "walk", "representation": "gradient"}}},
    ],
)
def test_what_fits_together_can_be_compared(settings: dict[str, Any]) -> None:
    compared = {"pool": "p", "targets": "t", "tests": "t", "out": "o", "model": {"name": "m"}}
    config = parse(CompareConfig, compared | settings, "x")
    for method in config.all_methods[1:-2]:
        config.selection_of(method, "1%", 1)


def test_what_a_section_checks_and_changes_holds_in_the_whole() -> None:
    class Colour(Section):
        hue: str = "red"

        @field_validator("hue")
        @classmethod
        def _upper(cls, hue: str) -> str:
            return hue.upper()

        @model_validator(mode="after")
        def _no_grey(self) -> Self:
            if self.hue == "GREY":
                raise ValueError("expected a colour")
            return self

    class Shared(Section):
        size: int = 1

    whole = composed("Whole", Shared, [Colour], __name__)
    assert list(whole.model_fields) == ["size", "hue"]
    assert whole(hue="blue").hue == "BLUE" == whole(hue="blue").part(Colour).hue
    with pytest.raises(ValidationError, match="expected a colour"):
        whole(hue="grey")


def test_a_setting_that_is_read_only_beside_another_names_who_may_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # as `top` reads core knowledge: were it alone in that, it would still be named
    without_walk = {name: place for name, place in SELECTORS.items() if name != "walk"}
    monkeypatch.setattr("g2is.config.passed_over.SELECTORS", without_walk)
    assert "expected the selector top" in not_read({"method": "design"}, {"core": "selection.core"})


def test_a_user_s_own_selector_and_representation_may_have_any_name() -> None:
    settings = SelectionConfig(selector="own:mine", representation="own:theirs")
    assert (settings.selector, settings.representation) == ("own:mine", "own:theirs")
