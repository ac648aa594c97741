"""The settings of gradients: which forms, how they are projected, and in what form they are stored."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from g2is.config.later import without_unsaid
from g2is.config.section import Section, each_once, one_may_stand_alone

GammaForm = Literal["less", "adam", "sgd", "normalized", "momentum-free"]
Storage = Literal["float16", "int8", "sign"]
Parameters = Literal["lora", "all"]
SecondMoments = Literal["factored", "adam"]


class ProjectionConfig(Section):
    """How a gradient of D coordinates becomes a row of k (method.md step 4)."""

    kind: Literal["sparse", "rademacher", "two-sided", "none"] = Field(
        "sparse",
        description="sparse: sign sketch; rademacher: dense ±1/√k, slow, for reference; two-sided: of a layer's inputs"
        " and output gradients, for less memory and accuracy, of plain gradients of all parameters",
    )
    dim: int = Field(8192, ge=1, description="k; no projection where the adapter has no more coordinates than this")
    seed: int = Field(0, ge=0, lt=2**63, description="of signs and places")


class GradientsConfig(Section):
    """Which gradients are stored for each example (method.md steps 2-5)."""

    parameters: Parameters = Field(
        "lora",
        description="of which gradients are taken; lora: of an adapter; all: of weight and bias of every linear layer,"
        " without one (docs/method.md)",
    )
    second_moments: SecondMoments | None = Field(
        None,
        description="with parameters: all, what the warm-up trains by and keeps; factored (default): Adafactor, a"
        " number for each row and column of a weight; adam: AdamW, 8 bytes a weight",
    )
    forms: Annotated[tuple[GammaForm, ...], one_may_stand_alone, each_once] = Field(
        ("momentum-free", "less"),
        min_length=1,
        description="Γ forms of pool gradients, from one pass; another one that the method looks at takes their place",
    )
    target_form: GammaForm = Field("sgd", description="Γ form of target gradients; sgd: the plain gradient")
    projection: ProjectionConfig = ProjectionConfig()
    storage: Storage = Field(
        "float16",
        description="what is kept of a pool row's coordinate: 16 bits, 8, or its sign alone; less takes less disk and"
        " memory, and selects a little otherwise (docs/scaling.md). Target rows are float16 always",
    )

    @model_validator(mode="after")
    def _signs_fill_bytes(self) -> Self:
        if self.storage == "sign" and self.projection.kind != "none" and self.projection.dim % 8:
            raise ValueError(
                "storage sign: expected gradients.projection.dim to be a multiple of 8, for eight signs are a byte,"
                f" found {self.projection.dim}; set dim to such a number, or storage to int8"
            )
        return self

    @model_validator(mode="after")
    def _moments_of_the_parameters(self) -> Self:
        if self.parameters == "lora" and self.second_moments is not None:
            raise ValueError(
                "second_moments: expected parameters: all beside it, for an adapter's moments are always Adam's, found"
                " parameters: lora; leave one of the two out"
            )
        if self.is_factored and "adam" in (*self.forms, self.target_form):
            raise ValueError(
                "forms and target_form: expected forms of Adafactor's second moment, found adam, whose bias it has not;"
                " set second_moments to adam, or take another form"
            )
        return self

    @model_validator(mode="after")
    def _two_sided_is_of_plain_gradients(self) -> Self:
        if self.projection.kind != "two-sided":
            return self
        if self.parameters == "lora":
            raise ValueError("projection.kind two-sided: expected parameters: all beside it, found lora; set it to all")
        if others := sorted({*self.forms, self.target_form} - {"sgd"}):
            raise ValueError(
                f"projection.kind two-sided: expected the Γ form sgd alone, found {', '.join(others)}: others are not"
                " linear in the gradient, which is never made. Set selection.form to sgd (and gradients.forms and"
                " target_form, where they are given), or take the kind sparse"
            )
        if self.storage == "sign":
            raise ValueError(
                "projection.kind two-sided: expected storage float16 or int8 beside it, found sign, which wants rows of"
                " whole bytes; set storage to int8"
            )
        return self

    @property
    def is_factored(self) -> bool:
        """Whether the warm-up's second moments are Adafactor's."""
        return self.parameters == "all" and self.second_moments != "adam"

    @property
    def kept_moments(self) -> SecondMoments:
        """How the warm-up's second moments are kept."""
        return "factored" if self.is_factored else "adam"

    def in_fingerprint(self) -> dict[str, Any]:
        """What decides rows, as a store's fingerprint says it."""
        values = self.model_dump(mode="json")
        if self.parameters == "all":
            values["second_moments"] = self.kept_moments
        return without_unsaid(values, "gradients.")
