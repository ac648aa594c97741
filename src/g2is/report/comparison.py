"""A comparison as the plain data of its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2is.report.packing import plain
from g2is.report.shown import Turns, beginning, whole

MOST_ALONE = 40  # rows that only one method took, of which the page shows the texts


@dataclass(frozen=True)
class Table:
    """A table of text; of each line its cells and its kind: better, worse, baseline or empty."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[Sequence[str], str]]


@dataclass(frozen=True)
class Losses:
    """The losses of one target at one budget: of each method its name, the value and its interval."""

    budget: str
    target: str
    methods: Sequence[tuple[str, float, float, float]]


@dataclass(frozen=True, eq=False)
class Alike:
    """How much selections share at one budget: (M, M) rows in both over rows in either, NaN where not compared."""

    budget: str
    methods: Sequence[str]
    jaccard: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alone:
    """Rows of the pool that only this method took, in any seed, for one target at one budget."""

    budget: str
    target: str
    method: str
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Compared:
    """All that the page of a comparison shows."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    legend: Sequence[str]
    notes: Sequence[str]
    summary: Table
    tables: Sequence[Table]
    losses: Sequence[Losses]
    alike: Sequence[Alike]
    alone: Sequence[Alone]
    command: str
    environment: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


def alone(selections: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Of each method the rows that no other took; `selections` are the rows (n,) int64 of each, in all seeds."""
    found = {}
    for method, rows in selections.items():
        others = [theirs for other, theirs in selections.items() if other != method]
        found[method] = np.setdiff1d(rows, np.concatenate(others)) if others else np.unique(rows)
    return found


def comparison_data(found: Compared, texts: Mapping[int, tuple[str, str, Turns]]) -> dict[str, Any]:
    """The page's data; `texts` are id, source and turns of the rows that it shows, by record number."""
    return plain(
        {
            "kind": "comparison",
            "title": found.title,
            "subtitle": found.subtitle,
            "facts": found.facts,
            "legend": found.legend,
            "notes": found.notes,
            "summary_table": vars(found.summary),
            "tables": [vars(table) for table in found.tables],
            "losses": [vars(losses) for losses in found.losses],
            "alike": [vars(alike) for alike in found.alike],
            "alone": [
                {**vars(of), "rows": of.rows[:MOST_ALONE], "num_rows": len(of.rows)}
                for of in found.alone
                if len(of.rows)
            ],
            "texts": {
                row: {"id": id_, "source": source, "text": beginning(turns), "turns": whole(turns)}
                for row, (id_, source, turns) in texts.items()
            },
            "command": found.command,
            "environment": found.environment,
            "settings": found.settings,
        }
    )
