"""The settings of what gradients are multiplied by before a selector looks at them (method.md)."""

from typing import Literal

from pydantic import Field

from g2is.config.section import Section


class PreconditionSettings(Section):
    """Read wherever a selector looks at gradients (`passed_over.py`)."""

    precondition: Literal["pool"] | None = Field(
        None,
        description="pool: rows and target times the damped inverse root of the second moment of the pool's gradients,"
        " so that what most of them share counts less; default: gradients as they are",
    )
    precondition_damping: float = Field(
        0.1,
        ge=1e-6,  # with less, a second moment of fewer rows than coordinates would be rounding
        le=1e6,
        description="what is added to each eigenvalue of the second moment, in units of their mean",
    )
    precondition_mix: float = Field(
        0.0, ge=0, le=1, description="how much of the second moment is the target's; the rest is the pool's"
    )
