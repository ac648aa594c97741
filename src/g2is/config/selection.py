"""The settings of a selection: what all selectors share, composed with what each declares as its own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from g2is.config.gradients import GammaForm
from g2is.config.parts import ExamplesConfig
from g2is.config.passed_over import not_read, passed_over
from g2is.config.precondition import PreconditionSettings
from g2is.config.section import OptionalLocations, OptionalPaths, composed, number_as_text
from g2is.config.warmup_seeds import WarmupSeedsSettings
from g2is.methods import (
    DEFAULT,
    GRADIENT,
    METHODS,
    NONE,
    OWN,
    REPRESENTATIONS,
    SELECTORS,
    CopySettings,
    Section,
    check_name,
    gives,
    representation_kind,
    selector_kind,
    selector_sections,
)


class SharedSelectionConfig(Section):
    """Representation, selector and its rules (method.md steps 6-7). The method fills whatever is not given."""

    method: str = Field(DEFAULT, description="a named cell of the grid: `g2is methods` lists them")
    representation: str = Field(
        GRADIENT, description=f"what stands for an example: {', '.join((GRADIENT, *REPRESENTATIONS))} or {NONE}"
    )
    selector: str = Field(
        DEFAULT, description=f"how rows are chosen: {', '.join(list(SELECTORS)[:-1])} or {list(SELECTORS)[-1]}"
    )
    budget: Annotated[str, BeforeValidator(number_as_text)] = Field(
        "1%", description="a share of all rows read (1%), a number of rows (500), or of their tokens (2Mtok, 500ktok)"
    )
    shares: dict[str, float] | None = Field(
        None,
        description="of the budget, by target, such as {math: 2, med: 1}; default: equal, but of bids, whose targets"
        " have one budget",
    )
    include: OptionalPaths = Field(
        (),
        description="files of ids, one a line, of rows to select in any case; the budget pays for them",
    )
    exclude: OptionalPaths = Field((), description="files of ids, one a line, of rows to leave out of everything")
    exclude_overlap: OptionalLocations = Field(
        (), description="test files: rows that share 13 words in a row with one of their examples are left out"
    )
    quotas: dict[str, Annotated[str, BeforeValidator(number_as_text)]] = Field(
        {}, description="the most of the selection that comes from a source: a share of the budget (50%) or rows (100)"
    )
    form: GammaForm | None = Field(
        None, description="which stored Γ form to look at; default: the method's, else the first of gradients.forms"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_method(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and (method := METHODS.get(str(given.get("method", DEFAULT)))):
            # what a run wrote down lacks only what came later, which was at its default when it was made
            recorded = given.keys() >= SharedSelectionConfig.model_fields.keys()
            given = {**{name: of for name, of in method.settings.items() if not recorded or name in given}, **given}
        if isinstance(given, Mapping) and str(given.get("selector")).startswith(OWN):
            given = {"duplicate_threshold": None, **given}  # it says itself what is worth taking
        return given

    @field_validator("method")
    @classmethod
    def _known_method(cls, name: str) -> str:
        return check_name("method", name, METHODS)

    @field_validator("selector")
    @classmethod
    def _known_selector(cls, name: str) -> str:
        return check_name("selector", name, SELECTORS)

    @field_validator("representation")
    @classmethod
    def _known_representation(cls, name: str) -> str:
        return check_name("representation", name, (GRADIENT, *REPRESENTATIONS, NONE))

    @model_validator(mode="after")
    def _selector_can_read_it(self) -> Self:
        kind, given = selector_kind(self.selector), gives(self.representation)
        own = self.part(kind.settings)
        needs = kind.needs(own)
        if needs == "nothing" or given in (needs, "vectors"):
            return self
        if given == "nothing":
            raise ValueError(f"selector {self.selector}: expected a representation to look at, found none; name one")
        asked_for = _as_set(own) if kind.needs(kind.settings()) == "scores" else f"the selector {self.selector}"
        raise ValueError(
            f"representation {self.representation}: expected the selector {_selectors_of_scores()}, for"
            f" {representation_kind(self.representation).scored_by} has scores and no vectors; found {asked_for}"
        )

    @model_validator(mode="after")
    def _candidates_have_vectors(self) -> Self:
        asked: int | None = getattr(self, "candidates", None)  # which selectors declare
        if asked is not None and gives(self.representation) != "vectors":
            raise ValueError(
                f"selection.candidates: expected a representation that has vectors, found {self.representation}; use"
                " gradient, hidden or embedding, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _rounds_are_of_gradients(self) -> Self:
        if getattr(self, "rounds", 1) == 1:  # which selectors declare
            return self
        if self.representation != GRADIENT:
            raise ValueError(
                "selection.rounds: expected the representation gradient, which a tuning changes, found"
                f" {self.representation}; take gradient, or leave it out"
            )
        if getattr(self, "precondition", None) is not None:
            raise ValueError(
                "selection.rounds: expected no selection.precondition beside it, which is made of the target's"
                " gradients as they were at first; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _shares_are_of_budgets(self) -> Self:
        if self.shares is not None and selector_kind(self.selector).together:
            raise ValueError(
                "selection.shares: expected a selector that gives each target a budget of its own, found"
                f" {self.selector}, which spends one on all targets; leave the shares out"
            )
        return self

    @model_validator(mode="after")
    def _nothing_is_passed_over(self) -> Self:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        of_method = METHODS[self.method].settings
        found = [
            name
            for name in passed_over(values)
            # config.yaml has the defaults of all, and a method's settings are for its own selector
            if values[name] not in (type(self).model_fields[name].default, of_method.get(name))
        ]
        if found:
            raise ValueError(not_read(values, {name: f"selection.{name}" for name in found}))
        return self


if TYPE_CHECKING:

    class SelectionConfig(SharedSelectionConfig):
        """What all selectors share, with the settings that each declares as its own."""

        def __init__(self, **settings: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...
else:
    SelectionConfig = composed(
        "SelectionConfig",
        SharedSelectionConfig,
        [CopySettings, PreconditionSettings, WarmupSeedsSettings, *selector_sections()],
        module=__name__,
    )


# The settings of the first version, in their order. A digest of a finished selection has always held all of these; of
# those that came later it holds what is not at its default, so that a new selector makes no old selection anew.
FIRST_SETTINGS = (
    *("method", "representation", "selector", "budget", "shares", "include", "exclude", "exclude_overlap", "quotas"),
    *("form", "score", "noise", "seed", "core", "core_mode", "core_fraction", "orient", "normalize_targets"),
    *("exact_budget", "delta", "conflict_tolerance", "consistency_sign", "consistency_reference"),
    *("duplicate_threshold", "cross_component_conflicts", "keep_zero_rows"),
)


def deciding(settings: SelectionConfig) -> dict[str, Any]:
    """The settings that a selection's digest is of."""
    values, defaults = settings.model_dump(mode="json"), _defaults()
    later = [name for name in values if name not in FIRST_SETTINGS and values[name] != defaults[name]]
    return {name: values[name] for name in (*FIRST_SETTINGS, *later)}


def with_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` of a run's config.yaml with what of its examples and selection came later, at its default."""
    later = {
        "examples": ExamplesConfig().model_dump(mode="json"),
        "selection": {name: value for name, value in _defaults().items() if name not in FIRST_SETTINGS},
    }
    filled = {name: {**of, **given} for name, of in later.items() if isinstance(given := values.get(name), Mapping)}
    return {**values, **filled}


def _defaults() -> dict[str, Any]:
    return SelectionConfig().model_dump(mode="json")


def _selectors_of_scores() -> str:
    """The selectors that do without vectors, with the settings under which they do."""
    kinds = {name: selector_kind(name) for name in SELECTORS}
    named = []
    for name, kind in kinds.items():
        if kind.needs(kind.settings()) == "scores":
            settings = _as_set(kind.settings())
            named.append(f"{name} (with {settings})" if settings else name)
    return " or ".join(named)


def _as_set(settings: Section) -> str:
    return ", ".join(f"{name}: {value}" for name, value in settings.model_dump().items())
