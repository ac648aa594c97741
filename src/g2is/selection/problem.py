"""What a selector looks at, and what it answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from g2is.errors import SelectionError
from g2is.methods import OpposedSettings, Section
from g2is.progress import Progress
from g2is.selection.arrays import Mask
from g2is.selection.core import CoreKnowledge, core_knowledge
from g2is.selection.limits import Limits
from g2is.selection.record import Picks, Walk

if TYPE_CHECKING:
    from g2is.config import SelectionConfig
    from g2is.selection.similarity import UnitRows

DECIMALS = 12  # of a cosine in float64: what differs by less is rounding, and ties


class Choice(NamedTuple):
    """A row that a selector would take next, and the score that it has there (NaN: none).

    `target` is whom it serves, of a selector that chooses for several at once.
    """

    row: int
    score: float = float("nan")
    target: str | None = None


@dataclass(frozen=True, eq=False)
class TargetRows:
    """One target: its part of the budget, and what represents its examples.

    `rows` (M, k) as core knowledge takes them; or, for a representation without vectors, `similarity` (N, M) of the
    pool's rows with them; neither where nothing is looked at. `groups` (M,) of the examples.
    """

    budget: int
    rows: np.ndarray | None = None
    similarity: np.ndarray | None = None
    groups: Sequence[str | None] = ()


@dataclass(frozen=True, eq=False)
class Selected:
    """What was chosen, how each pool row scored (columns (N,) by name), and the core knowledge that was walked.

    `against`, by target, is how many of its rows oppose every example of it; without those of none.
    """

    record: Walk | Picks
    scored: Mapping[str, np.ndarray]
    core: Mapping[str, CoreKnowledge]
    against: Mapping[str, int] = field(default_factory=dict)

    def told(self) -> list[str]:
        """What must be said of targets that found no row or whose rows oppose them, a notice each."""
        silent = [f"{told}: nothing is taken for what no row agrees with" for told in self.record.unanswered]
        handed_on = self.record.handed_on if isinstance(self.record, Picks) else ()
        against = [
            f"target {name!r}: {count} of the rows selected for it oppose every example of it"
            for name, count in self.against.items()
        ]
        return [*silent, *handed_on, *against]


@dataclass(eq=False)
class Problem:
    """One target's part of a selection.

    target   its name
    budget   how many rows it may take, or tokens; once it is its turn, with what targets before it could not spend
    costs    (N,) int64, what each row takes from the budget
    open     (N,) bool, rows that can be taken now; it changes as rows are taken, also those of other targets
    settings of the whole selection; a built-in selector reads its own: `settings.part(DesignSettings)`
    rows     the pool's unit rows; None for a representation that has none (lexical, none)
    targets  (M, k) target rows, as `core_knowledge` takes them; None likewise
    given    (N, M) similarities of a representation that has no rows; None elsewhere
    groups   (M,) the target examples' groups, None for one that has none
    keys     (N, 16) uint8, the content of each pool row hashed; None where rows are a matrix's
    taken    the rows taken for this target so far, in order
    served   (M,) the names of the examples' targets, where several are chosen for at once (`together.py`)
    whole    what all rows of the pool cost, those that are not looked at (candidates), too; None: as much as `costs`
    renew    gives the target rows (M', k) anew, after a tuning on the rows taken so far, in order; None where no model
             is at hand
    """

    target: str
    budget: int
    costs: NDArray[np.int64]
    open: Mask
    settings: "SelectionConfig"
    rows: "UnitRows | None" = None
    targets: np.ndarray | None = None
    given: np.ndarray | None = None
    groups: Sequence[str | None] = ()
    keys: NDArray[np.uint8] | None = None
    taken: list[int] = field(default_factory=list)
    served: Sequence[str] = ()
    whole: int | None = None
    renew: "Callable[[Sequence[int]], np.ndarray] | None" = None

    @property
    def share(self) -> float:
        """The budget over what all rows of the pool cost."""
        return self.budget / (int(self.costs.sum()) if self.whole is None else self.whole)

    @cached_property
    def similarity(self) -> NDArray[np.float64]:
        """(N, M) cosines of pool rows with target rows, or the scores that stand for them; 0 for a zero row."""
        if self.given is not None:
            return self.given.astype(np.float64)
        rows, targets = self.vectors()
        return rows.cosines_with(targets).round(DECIMALS)

    @property
    def of_groups(self) -> list[Mask]:
        """Which target examples are in each group, by its name: (M,) bool each; without groups all are one."""
        vectors = self.given.T if self.given is not None else self.targets
        labels = np.array([group or "" for group in self.groups] or [""] * (0 if vectors is None else len(vectors)))
        return [labels == label for label in sorted(set(labels.tolist()))]

    @property
    def is_compared(self) -> bool:
        """Whether `similarity` was looked at, and so is there without more work."""
        return "similarity" in self.__dict__

    @cached_property
    def opposed(self) -> Mask:
        """(N,) bool, rows that must not be taken because they oppose every example of the target; none if they may be.

        A row opposes an example if their cosine is below 0. One that is orthogonal to it does not.
        """
        if self.settings.part(OpposedSettings).take_opposed:
            return np.zeros(len(self.open), dtype=bool)
        return np.asarray((self.similarity < 0).all(axis=1))

    @cached_property
    def core(self) -> CoreKnowledge:
        """Core knowledge of the target. Raises SelectionError if the representation has no rows."""
        self.vectors()
        assert self.targets is not None
        return core_knowledge(self.targets, self.settings)

    def vectors(self) -> "tuple[UnitRows, NDArray[np.float64]]":
        """The pool's rows, and the target's (M, k) at unit length. Raises SelectionError if there are none."""
        from g2is.selection.files import check_k  # here, because they import torch
        from g2is.selection.similarity import UnitRows

        if self.rows is None or self.targets is None:
            raise SelectionError(
                f"selector {self.settings.selector}: expected a representation that has vectors, found"
                f" {self.settings.representation}; use gradient, hidden or embedding"
            )
        targets = UnitRows(self.targets, what="target rows")
        check_k(self.rows.k, targets.k, "target rows")
        if not targets.nodes.any():
            raise SelectionError(
                f"target rows: expected one that is not zero, found {targets.num_rows} zero row(s), similar to nothing;"
                " use other target examples"
            )
        return self.rows, targets.over_units(np.arange(targets.num_rows), lambda units: units)


# (rows, targets by name, settings, limits, progress, graph): chooses for all targets, which share one pool and budget.
SelectJointly = Callable[
    ["UnitRows", Mapping[str, TargetRows], Section, Limits, Progress | None, np.ndarray | None], Selected
]

# (a target's name, rows of the pool taken for it, in order): its rows (M', k) after a tuning on these.
Renew = Callable[[str, Sequence[int]], np.ndarray]

# Yields rows in the order in which they should be taken. One that is not open any more is passed over; when the
# generator is asked for the next row, `problem.taken` says whether the last one was taken: a quota may have refused it.
Select = Callable[[Problem], Iterator[Choice]]


@dataclass(frozen=True)
class Selector:
    """A selector of the user's own; `name` and `version` say in a run's record what made the selection."""

    name: str
    version: str
    select: Select
