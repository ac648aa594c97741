"""One bar for all cells of a comparison, in place of one for each stage of each."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

from g2is.comparison.cells import Key
from g2is.jobs.comparison_work import CellWork
from g2is.jobs.stages import Stage
from g2is.jobs.trial import TUNING, testing
from g2is.progress import Progress, Reporter

_BACKWARD = 3  # of a pass forward and back, in passes forward
_PARTS = {  # by the titles of their stages, of which there may be several
    "warm_up": re.compile("warm up"),
    "tunings": re.compile(Stage.TUNE_ON_TARGET),
    "rounds": re.compile(r"tune on \d+ rows taken"),
}
_A_TEST_ROW = {True: 2_000, False: 500}  # in tokens of a pass, where it is answered, and where its loss alone is asked


@final
class Overall:
    """The reporter of what is done for a cell: its stages move the one bar, and its notices are passed on.

    What cells say alike is said once. The bar counts tokens of forward passes; a backward pass is two of them. Between
    stages that count little or nothing it stands still.
    """

    def __init__(self, reporter: Reporter, progress: Progress, work: Mapping[Key, CellWork], generates: bool) -> None:
        self._reporter, self._progress = reporter, progress
        self._parts = {key: _parts(of, generates) for key, of in work.items()}
        self._total = max(1, round(sum(sum(parts.values()) for parts in self._parts.values())))
        self._done = 0.0  # of all cells that are done
        self._trained = {key: of.trained for key, of in work.items()}
        self._current: dict[str, float] = {}
        self._times: Mapping[str, int] = {}  # that a part of the current cell comes
        self._opened: Counter[str] = Counter()
        self._reached = 0.0
        self._told: set[str] = set()

    @contextmanager
    def cell(self, key: Key) -> Iterator[None]:
        """Make the cell `key`, or find that it cannot be made: either way its part of the bar is done."""
        self._current, self._times, self._opened = self._parts[key], self._trained[key], Counter()
        yield
        self._done += sum(self._current.values())
        self._current = {}
        self._tell(0.0)

    @contextmanager
    def stage(self, title: str, unit: str) -> Iterator[Progress]:
        """Open a stage of the current cell."""
        part = _part(title)
        weight = self._current.get(part, 0.0) / max(self._times.get(part, 1), 1)
        before = self._before(part) + weight * self._opened[part]
        self._opened[part] += part in self._times
        yield lambda done, total: self._tell(before + weight * done / max(total, 1))
        self._tell(before + weight)

    def notice(self, text: str) -> None:
        """Pass it on, if no other cell has said the same."""
        if text not in self._told:
            self._told.add(text)
            self._reporter.notice(text)

    def _before(self, part: str) -> float:
        """What of the current cell comes before a part."""
        before = 0.0
        for name, weight in self._current.items():
            if name == part:
                return before
            before += weight
        return self._reached - self._done

    def _tell(self, of_cell: float) -> None:
        self._reached = max(self._reached, self._done + of_cell)
        self._progress(min(self._total, round(self._reached)), self._total)


def _parts(work: CellWork, generates: bool) -> dict[str, float]:
    """What a cell does, part by part in the order in which it does it, in tokens of a forward pass."""
    return {
        "warm_up": _BACKWARD * work.warm_up,
        "tunings": _BACKWARD * work.tunings,
        "rows": _BACKWARD * work.gradients + work.rows[1],
        "rounds": _BACKWARD * work.rounds,
        TUNING: _BACKWARD * work.tune,
        **{testing(target): float(_A_TEST_ROW[generates] * num) for target, num in work.tests.items()},
    }


def _part(title: str) -> str:
    """The part that a stage with this title belongs to."""
    if title.endswith(" of pool"):
        return "rows"
    return next((part for part, pattern in _PARTS.items() if pattern.match(title)), title)
