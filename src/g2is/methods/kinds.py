"""What a selector and a representation declare of themselves, and the settings that several selectors share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

# What stands for the rows, and what a selector must have of it: vectors, from which scores follow; scores alone, the
# similarities of pool rows with target examples; or nothing.
Material = Literal["vectors", "scores", "nothing"]


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_word_is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true, yes and on would else be 1."""
        kinds = _kinds_of(cls.model_fields[str(info.field_name)].annotation)
        of_items = set().union(*(_kinds_of(get_args(of)[1]) for of in kinds if get_origin(of) is dict))
        items = value.values() if isinstance(value, Mapping) else ()
        for wanted, found in ((kinds, [value]), (of_items, items)):
            if wanted & {int, float} and bool not in wanted and any(isinstance(of, bool) for of in found):
                raise ValueError("expected a number")
        return value

    def part(self, kind: "type[Part]") -> "Part":
        """These settings as one of the sections that they are composed of."""
        if type(self) is kind:
            return self
        return kind.model_validate({name: getattr(self, name) for name in kind.model_fields})


Part = TypeVar("Part", bound=Section)


def _kinds_of(annotation: Any) -> set[Any]:
    """The types that a setting may be of."""
    if get_origin(annotation) is Annotated:
        return _kinds_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_kinds_of, get_args(annotation)))
    return {annotation}


class CopySettings(Section):
    """What counts as the same row twice, for every selector."""

    duplicate_threshold: float | None = Field(
        0.98,
        gt=0,
        le=1,
        description="cosine from which a taken row's copy is skipped; a selector of your own skips none unless told",
    )


class OpposedSettings(Section):
    """What becomes of rows that oppose the target, for every selector that looks at similarity with it."""

    take_opposed: bool = Field(
        False,
        description="take rows whose cosine with every example of the target is below 0, or that oppose the component"
        " they are to anchor; as published methods do when no other row is left",
    )


class CandidateSettings(Section):
    """How many rows a selector looks at that would go through all of them again and again."""

    candidates: int | None = Field(
        None,
        ge=1,
        description="look only at this many rows, those nearest to any example of the target (so many for each of"
        " several), which one pass finds; default: at all",
    )


class NoSettings(Section):
    """The settings of what has none."""


@dataclass(frozen=True, kw_only=True)
class SelectorKind:
    """A selector, as its own file declares it.

    line      what it does, and its `source`
    needs     what it must have of the rows, under its settings
    settings  its own; their names are unique among all selectors
    shared    sections that it has in common with others, and reads under its settings
    select    names rows for one target after the other: a `Select` (`selection/problem.py`, as the next)
    select_jointly   chooses for all targets at once, in its place: a `SelectJointly`
    stage     the id of its stage (`jobs/stages.py`)
    coarse    whether a coarse screen serves it: one in 8 bits, where errors do not add up from step to step
    follows_graph    whether it can be held to a graph's lists of nearest rows
    takes_all whether it takes the whole pool, whatever the budget
    together  whether it is given all targets as one problem: they share one budget
    replays   whether it says of a row among the taken ones alone what it says of it in the pool
    score     what the score of a row that it names says, and its `score_unit`; without one that of similarities
    """

    line: str
    needs: Callable[[Any], Material]
    source: str = ""
    settings: type[Section] = NoSettings
    shared: Mapping[type[Section], Callable[[Any], bool]] | None = None
    select: Callable[..., Any] | None = None
    select_jointly: Callable[..., Any] | None = None
    stage: Literal["select", "walk"] = "select"
    coarse: bool = False
    follows_graph: bool = False
    takes_all: bool = False
    together: bool = False
    replays: bool = True
    score: str = ""
    score_unit: str = ""

    @property
    def sections(self) -> list[type[Section]]:
        """All settings that it may read."""
        return [self.settings, *(self.shared or {})]

    def reads(self, own: Section) -> set[str]:
        """The names of the settings that it reads beside what all do, where its own are `own`."""
        sections = [self.settings, *(section for section, read in (self.shared or {}).items() if read(own))]
        return {name for section in sections for name in section.model_fields}


@dataclass(frozen=True, kw_only=True)
class RepresentationKind:
    """A representation, as its own file declares it.

    line      what it is, and its `source`
    gives     what it has of the rows; `scored_by` says what makes the scores of one without vectors
    score     what such a score is, and its `score_unit`, if it is no similarity with an example
    settings  its own; their names are unique among all representations
    make      a `Maker` from `Materials` (`representations/maker.py`)
    tunings   of adapters on each target, in their order, as `TuningConfig`s, by the settings of representations: where
              there are any, its rows are the targets' own
    passes    how often a row goes through the model, by these settings and the number of targets
    """

    line: str
    gives: Material
    make: Callable[..., Any]
    source: str = ""
    scored_by: str = ""
    score: str = ""
    score_unit: str = ""
    tunings: Callable[[Section], Sequence[Any]] = lambda _: ()
    passes: Callable[[Section, int], int] = lambda _, __: 1
    settings: type[Section] = NoSettings
