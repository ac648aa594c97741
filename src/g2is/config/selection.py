"""The settings of core knowledge and walk."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from g2is.config.parts import GammaForm
from g2is.config.section import AbsolutePath, OptionalLocations, Section

# What `official` sets otherwise than the defaults below, which are the preset `g2is`.
OFFICIAL: dict[str, Any] = {
    "core": "pca",
    "orient": False,
    "normalize_targets": False,
    "exact_budget": False,
    "conflict_tolerance": 0.0,
    "consistency_sign": "absolute",
    "consistency_reference": "previous",
    "duplicate_threshold": None,
    "keep_zero_rows": True,
}


class SelectionConfig(Section):
    """Core knowledge and walk (method.md steps 6-7). The preset fills whatever is not given."""

    preset: Literal["g2is", "official"] = Field("g2is", description="official: the published script's settings")
    budget: Annotated[str, BeforeValidator(str)] = Field(
        "1%", description="a share of all rows read (1%), a number of rows (500), or of their tokens (2Mtok, 500ktok)"
    )
    shares: dict[str, float] | None = Field(
        None, description="of the budget, by target, such as {math: 2, med: 1}; default: equal"
    )
    include: tuple[AbsolutePath, ...] = Field(
        (), description="files of ids, one a line, of rows to select whatever the walk says; the budget pays for them"
    )
    exclude: tuple[AbsolutePath, ...] = Field(
        (), description="files of ids, one a line, of rows to leave out of everything"
    )
    exclude_overlap: OptionalLocations = Field(
        (), description="test files: rows that share 13 words in a row with one of their examples are left out"
    )
    quotas: dict[str, Annotated[str, BeforeValidator(str)]] = Field(
        {}, description="the most of the selection that comes from a source: a share of the budget (50%) or rows (100)"
    )
    form: GammaForm | None = Field(
        None, description="which stored Γ form to walk; default: the first of gradients.forms"
    )
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
        0.98, gt=0, le=1, description="cosine from which a taken row's copy is skipped"
    )
    cross_component_conflicts: bool = Field(False, description="conflicts with rows of earlier components count too")
    keep_zero_rows: bool = Field(False, description="zero rows of a matrix given by hand are nodes without conflict")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("preset") == "official":
            return {**OFFICIAL, **given}
        return given

    @model_validator(mode="after")
    def _tolerance_not_negative(self) -> Self:
        if self.conflict_tolerance != "noise" and not 0 <= self.conflict_tolerance <= 1:
            raise ValueError(f"conflict_tolerance: expected 0 to 1 or 'noise', found {self.conflict_tolerance}")
        return self
