"""The rules of the walk: what can be set of them, and what that means for rows of k coordinates."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from g2is.methods import CopySettings, OpposedSettings, Section, selector_kind
from g2is.selection.core import CoreSettings

if TYPE_CHECKING:
    from g2is.config import SelectionConfig


class WalkSettings(Section):
    """The rules of the walk (method.md step 7)."""

    exact_budget: bool = Field(True, description="re-deal what dry components leave, then take new anchors")
    delta: float = Field(0.8, ge=0, le=1, description="δ of the consistency rule, eq. 6")
    conflict_tolerance: Annotated[float, Field(ge=0, le=1)] | Literal["noise"] = Field(
        "noise", description="τ: a conflict is a cosine below -τ; noise: 2/√k, two standard deviations of the sketch"
    )
    consistency_sign: Literal["absolute", "signed"] = Field(
        "signed", description="of cos(S', K): the absolute value lets the sum turn to -K"
    )
    consistency_reference: Literal["previous", "anchor", "best"] = Field(
        "anchor", description="what δ is relative to: the step before, the trail's anchor, or its best value so far"
    )
    cross_component_conflicts: bool = Field(False, description="conflicts with rows of earlier components count too")
    keep_zero_rows: bool = Field(False, description="zero rows of a matrix given by hand are nodes without conflict")


@dataclass(frozen=True)
class Rules:
    """The rules of a walk, resolved for rows of k coordinates.

    delta                δ of the consistency rule (eq. 6)
    conflict_tolerance   τ: a conflict is a cosine below -τ (eq. 5 has τ = 0)
    duplicate_threshold  cosine from which a row is a near-copy; None: no row is
    noise                2/√k: two standard deviations of the cosine of unrelated sketched rows
    takes_opposed        whether rows that oppose the target are taken. They are where components are not oriented, for
                         then a component's sign says nothing
    """

    delta: float
    conflict_tolerance: float
    signed: bool
    reference: Literal["previous", "anchor", "best"]
    duplicate_threshold: float | None
    noise: float
    takes_opposed: bool

    @classmethod
    def resolve(cls, settings: Section, k: int) -> Self:
        """The rules that `settings` mean for rows of k coordinates."""
        of_walk, of_copies = settings.part(WalkSettings), settings.part(CopySettings)
        noise = 2 / math.sqrt(k)
        return cls(
            delta=of_walk.delta,
            conflict_tolerance=noise if of_walk.conflict_tolerance == "noise" else of_walk.conflict_tolerance,
            signed=of_walk.consistency_sign == "signed",
            reference=of_walk.consistency_reference,
            duplicate_threshold=of_copies.duplicate_threshold,
            noise=noise,
            takes_opposed=settings.part(OpposedSettings).take_opposed or not settings.part(CoreSettings).orient,
        )


def passes_over_opposed(settings: "SelectionConfig") -> bool:
    """Whether the selector of `settings` takes no row that opposes every example of a target.

    A walk of components that are not oriented takes them: see `Rules`.
    """
    kind = selector_kind(settings.selector)
    has_no_sign = kind.select_jointly is not None and not settings.part(CoreSettings).orient
    return OpposedSettings in kind.sections and not (has_no_sign or settings.part(OpposedSettings).take_opposed)
