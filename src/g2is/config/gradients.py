"""The settings of gradients: which forms, how they are projected, and in what form they are stored."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from g2is.config.section import Section, each_once, one_may_stand_alone

GammaForm = Literal["less", "adam", "sgd", "normalized", "momentum-free"]
Storage = Literal["float16", "int8", "sign"]


class ProjectionConfig(Section):
    """How a gradient of D coordinates becomes a row of k (method.md step 4)."""

    kind: Literal["sparse", "rademacher", "none"] = Field(
        "sparse", description="sparse: sign sketch; rademacher: dense ±1/√k, slow, for reference"
    )
    dim: int = Field(8192, ge=1, description="k; no projection where the adapter has no more coordinates than this")
    seed: int = Field(0, ge=0, lt=2**63, description="of signs and places")


class GradientsConfig(Section):
    """Which gradients are stored for each example (method.md steps 2-5)."""

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
