"""The gradient walk, as a selector: core knowledge first. Its settings are in `rules.py`, and `walk.py` walks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from g2is.errors import SelectionError
from g2is.methods import CandidateSettings, OpposedSettings, Section, SelectorKind
from g2is.progress import Progress
from g2is.selection.core import CoreKnowledge, CoreSettings, core_knowledge
from g2is.selection.limits import Limits
from g2is.selection.problem import Selected, TargetRows
from g2is.selection.rules import WalkSettings

if TYPE_CHECKING:
    from g2is.selection.similarity import UnitRows


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
    shares = [TargetShare(name, core[name], target.budget, target.rows) for name, target in targets.items()]
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
    shared={section: lambda _: True for section in (CoreSettings, OpposedSettings, CandidateSettings)},
    select_jointly=walk_from_core,
    stage="walk",
    coarse=True,
    follows_graph=True,
)
