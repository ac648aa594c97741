"""The settings of a selection: what all selectors share, composed with what each declares as its own."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from g2is.config.parts import GammaForm
from g2is.config.section import OptionalLocations, OptionalPaths, composed
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
        "design", description=f"how rows are chosen: {', '.join(list(SELECTORS)[:-1])} or {list(SELECTORS)[-1]}"
    )
    budget: Annotated[str, BeforeValidator(str)] = Field(
        "1%", description="a share of all rows read (1%), a number of rows (500), or of their tokens (2Mtok, 500ktok)"
    )
    shares: dict[str, float] | None = Field(
        None, description="of the budget, by target, such as {math: 2, med: 1}; default: equal"
    )
    include: OptionalPaths = Field(
        (), description="files of ids, one a line, of rows to select whatever the walk says; the budget pays for them"
    )
    exclude: OptionalPaths = Field((), description="files of ids, one a line, of rows to leave out of everything")
    exclude_overlap: OptionalLocations = Field(
        (), description="test files: rows that share 13 words in a row with one of their examples are left out"
    )
    quotas: dict[str, Annotated[str, BeforeValidator(str)]] = Field(
        {}, description="the most of the selection that comes from a source: a share of the budget (50%) or rows (100)"
    )
    form: GammaForm | None = Field(
        None, description="which stored Γ form to look at; default: the method's, else the first of gradients.forms"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_method(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and (method := METHODS.get(str(given.get("method", DEFAULT)))):
            given = {**method.settings, **given}
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
    def _sections_can_be_used(self) -> Self:
        for section in selector_sections():
            try:
                self.part(section)
            except ValidationError as error:  # of what a section checks beside the kinds of its settings
                raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self

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
    def _nothing_is_passed_over(self) -> Self:
        method = METHODS[self.method].settings
        found = [
            name
            for name in unread(self, type(self).model_fields)
            # config.yaml has the defaults of all, and a method's settings are for its own selector
            if getattr(self, name) not in (type(self).model_fields[name].default, method.get(name))
        ]
        if found:
            raise ValueError(not_read(self, {name: f"selection.{name}" for name in found}))
        return self


if TYPE_CHECKING:

    class SelectionConfig(SharedSelectionConfig):
        """What all selectors share, with the settings that each declares as its own."""

        def __init__(self, **settings: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...
else:
    SelectionConfig = composed(
        "SelectionConfig", SharedSelectionConfig, [CopySettings, *selector_sections()], module=__name__
    )


def read_by_selector(given: Mapping[str, Any]) -> "SelectionConfig":
    """The selection that `given` settings name, with those of them alone that its selector may read.

    Raises ValidationError if these cannot be used.
    """
    chosen = SelectionConfig(**{name: given[name] for name in ("method", "selector") if name in given})
    of_others = {name for section in selector_sections() for name in section.model_fields}
    if not chosen.selector.startswith(OWN):
        of_others -= {name for section in selector_kind(chosen.selector).sections for name in section.model_fields}
    return SelectionConfig(**{name: value for name, value in given.items() if name not in of_others})


def unread(settings: SharedSelectionConfig, names: Iterable[str]) -> list[str]:
    """Those of `names` that belong to selectors, and that the one of `settings` does not read."""
    if settings.selector.startswith(OWN):
        return []  # which may look at any
    of_selectors = {name for section in selector_sections() for name in section.model_fields}
    read = selector_kind(settings.selector).reads(settings)
    return [name for name in names if name in of_selectors and name not in read]


def without_unread(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` of a run's config.yaml without settings that its selector and representation do not read.

    Runs of before could have such, where a comparison or a call from Python gave them.
    """
    selection = values.get("selection")
    if not isinstance(selection, Mapping):
        return dict(values)
    try:
        chosen = read_by_selector(selection)
    except (ValidationError, TypeError):
        return dict(values)  # whoever uses them will say what is wrong
    passed_over = unread(chosen, selection)
    kept = {"selection": {name: value for name, value in selection.items() if name not in passed_over}}
    if isinstance(of := values.get("representation"), Mapping):
        kind = representation_kind(chosen.representation) if chosen.representation in REPRESENTATIONS else None
        read = kind.settings.model_fields if kind else {}
        kept["representation"] = {name: value for name, value in of.items() if name in read}
    return {**values, **kept}


def not_read(settings: SharedSelectionConfig, called: Mapping[str, str]) -> str:
    """What an error says of settings that the selector does not read: their names -> what the user calls them."""
    by_reader: dict[str, list[str]] = {}
    for name in called:
        reader = next(selector for selector in SELECTORS if name in selector_kind(selector).reads())
        by_reader.setdefault(reader, []).append(called[name])
    told = []
    for reader, names in by_reader.items():
        method = next((name for name, of in METHODS.items() if of.settings["selector"] == reader), None)
        use = f"--set selection.selector={reader}" if method is None else f"--method {method}"
        told.append(
            f"{', '.join(names)}: expected the selector {reader}, which looks at it, found {settings.selector}; add"
            f" {use}, or leave it out"
        )
    return ". ".join(told)


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
