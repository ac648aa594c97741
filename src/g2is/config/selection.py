"""The settings of a selection: representation, selector, core knowledge, walk."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from g2is.config.parts import GammaForm
from g2is.config.section import OptionalLocations, OptionalPaths, Section
from g2is.methods import DEFAULT, GRADIENT, METHODS, NONE, OWN, REPRESENTATIONS, SELECTORS, check_name

# What only core knowledge, and what only the walk, looks at.
OF_CORE = ("core", "core_mode", "core_fraction", "orient", "normalize_targets")
OF_WALK = (
    *("exact_budget", "delta", "conflict_tolerance", "consistency_sign", "consistency_reference"),
    "cross_component_conflicts",
)


class SelectionConfig(Section):
    """Representation, selector and its rules (method.md steps 6-7). The method fills whatever is not given."""

    method: str = Field(DEFAULT, description="a named cell of the grid: `g2is methods` lists them")
    representation: str = Field(
        "gradient", description="what stands for an example: gradient, hidden, embedding, lexical or none"
    )
    selector: str = Field(
        "design", description="how rows are chosen: design, walk, top, round-robin, match, random or all"
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
    score: Literal["target", "core"] = Field(
        "target",
        description="what the selector top ranks by; target: the mean similarity with the target's examples (of their"
        " nearest group); core: core knowledge score",
    )
    noise: float = Field(
        1.0,
        ge=1e-9,  # beyond these bounds float64 has no digits left to tell rows apart
        le=1e9,
        description="of the selector design: how little one row says; less makes repetition worth less",
    )
    seed: int = Field(0, ge=0, description="of the selector random")
    core: Literal["pca", "svd", "mean"] = Field("svd", description="svd: uncentred, keeps the mean direction")
    core_mode: Literal["variance", "count_ratio"] = Field(
        "variance", description="core_fraction is a share of the variance, or of k components"
    )
    core_fraction: float = Field(0.5, gt=0, le=1, description="share of variance (or of k) the components keep")
    orient: bool = Field(True, description="turn each component so that the mean target gradient agrees with it")
    normalize_targets: bool = Field(True, description="unit target rows before the decomposition")
    exact_budget: bool = Field(True, description="re-deal what dry components leave, then take new anchors")
    delta: float = Field(0.8, ge=0, le=1, description="δ of the consistency rule, eq. 6")
    conflict_tolerance: float | Literal["noise"] = Field(
        "noise", description="τ: a conflict is a cosine below -τ; noise: 2/√k, two standard deviations of the sketch"
    )
    consistency_sign: Literal["absolute", "signed"] = Field(
        "signed", description="of cos(S', K): the absolute value lets the sum turn to -K"
    )
    consistency_reference: Literal["previous", "anchor", "best"] = Field(
        "anchor", description="what δ is relative to: the step before, the trail's anchor, or its best value so far"
    )
    duplicate_threshold: float | None = Field(
        0.98,
        gt=0,
        le=1,
        description="cosine from which a taken row's copy is skipped; a selector of your own skips none unless told",
    )
    cross_component_conflicts: bool = Field(False, description="conflicts with rows of earlier components count too")
    keep_zero_rows: bool = Field(False, description="zero rows of a matrix given by hand are nodes without conflict")

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
    def _selector_can_read_it(self) -> Self:
        if self.representation == NONE and self.selector in ("walk", "top", "round-robin", "match", "design"):
            raise ValueError(f"selector {self.selector}: expected a representation to look at, found none; name one")
        if self.representation == "lexical" and (self.selector in ("walk", "match", "design") or self.score == "core"):
            raise ValueError(
                "representation lexical: expected the selector top (with score: target) or round-robin, for BM25 has"
                " scores and no vectors; found "
                + ("score: core" if self.score == "core" else f"the selector {self.selector}")
            )
        return self

    @model_validator(mode="after")
    def _tolerance_not_negative(self) -> Self:
        if self.conflict_tolerance != "noise" and not 0 <= self.conflict_tolerance <= 1:
            raise ValueError(f"conflict_tolerance: expected 0 to 1 or 'noise', found {self.conflict_tolerance}")
        return self
