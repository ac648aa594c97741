"""The gradient walk, as a selector: its settings, and core knowledge before it. `selection/walk.py` walks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from g2is.errors import SelectionError
from g2is.methods import Section, SelectorKind
from g2is.progress import Progress
from g2is.selection.core import CoreKnowledge, CoreSettings, core_knowledge
from g2is.selection.limits import Limits
from g2is.selection.problem import Selected, TargetRows

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows


class WalkSettings(Section):
    """The rules of the walk (method.md step 7)."""

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
    cross_component_conflicts: bool = Field(False, description="conflicts with rows of earlier components count too")
    keep_zero_rows: bool = Field(False, description="zero rows of a matrix given by hand are nodes without conflict")

    @model_validator(mode="after")
    def _tolerance_not_negative(self) -> Self:
        if self.conflict_tolerance != "noise" and not 0 <= self.conflict_tolerance <= 1:
            raise ValueError(f"conflict_tolerance: expected 0 to 1 or 'noise', found {self.conflict_tolerance}")
        return self


def walk_from_core(
    rows: "UnitRows",
    targets: Mapping[str, TargetRows],
    settings: Section,
    limits: Limits,
    progress: Progress | None = None,
    graph: np.ndarray | None = None,
) -> Selected:
    """Make each target's core knowledge and walk from it.

    Raises SelectionError where a target has none; else as `walk_targets`.
    """
    # here, because the configuration is composed of the settings above and torch takes seconds to import
    from g2is.selection.scores import core_columns
    from g2is.selection.walk import TargetShare, walk_targets

    core = {name: _core(name, target, settings) for name, target in targets.items()}
    shares = [TargetShare(name, core[name], target.budget) for name, target in targets.items()]
    record = walk_targets(rows, shares, settings, graph, progress, limits)
    return Selected(record, core_columns(rows, core), core)


def _core(name: str, target: TargetRows, settings: Section) -> CoreKnowledge:
    from g2is.config.targets import titled

    assert target.rows is not None
    try:
        return core_knowledge(target.rows, settings)
    except SelectionError as error:
        raise SelectionError(f"{titled(name)}: {error}") from None


WALK = SelectorKind(
    line="trails of rows that follow one another, coherent and free of conflict, from the core of the target's",
    source="Zhao et al., ACL 2025, arXiv 2502.11062",
    needs=lambda _: "vectors",
    settings=WalkSettings,
    shared={CoreSettings: lambda _: True},
    select_jointly=walk_from_core,
    stage="walk",
    coarse=True,
    follows_graph=True,
)
