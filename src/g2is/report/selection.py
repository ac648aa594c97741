"""A selection as the plain data of its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2is.report.comparison import Losses, Table
from g2is.report.figures import lengths, shares
from g2is.report.misses import Miss, Rules, near_misses
from g2is.report.packing import COSINE, packed, packed_cosines, packed_places, plain, shortened
from g2is.report.refusals import refusals
from g2is.report.relations import Relations
from g2is.report.shown import Shown, TargetExample, beginning, whole, whole_texts

# Columns of selection.parquet that are numbers, with their titles and what they say.
_NUMBERS = {
    "similarity_to_previous": ("to previous", "cosine with the row that the trail took before"),
    "similarity_to_core": ("to core", "cosine with the component's direction"),
    "consistency": ("consistency", "cosine of the trail's sum, with this row, and the component's direction"),
    "score": ("score", "what the selector took the row for"),
}


@dataclass(frozen=True, eq=False)
class Chosen:
    """The n chosen rows in order: `at` (n,) index among the shown rows, and the columns of selection.parquet.

    `scored` (P, G) is what the method scored every shown row for each target, NaN or None where it did not.
    """

    at: NDArray[np.int64]
    columns: Mapping[str, Sequence[Any]]
    scored: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Map:
    """Places of the shown rows (P, 2) and of the targets' examples (T, 2), and how they came about, a line each."""

    xy: NDArray[np.float32]
    target_xy: NDArray[np.float32]
    told: Sequence[str]


@dataclass(frozen=True, eq=False)
class Whole:
    """Of all rows of the pool, shown or not: sources, categories (None: rows have none) and lengths (N,)."""

    sources: Sequence[str]
    categories: Sequence[str] | None
    num_tokens: NDArray[np.int64]
    num_answer_tokens: NDArray[np.int64]


@dataclass(frozen=True)
class Beside:
    """The comparison that a selection belongs to, at its budget and for its target: which, of what cell, the table of
    results and the losses with their intervals.
    """

    folder: str
    cell: str
    table: Table
    losses: Losses


@dataclass(frozen=True, eq=False)
class About:
    """What is told of a run beside its rows, ready for JSON.

    `facts` are labels and texts; `left_out`, by kind (set aside, excluded, unreadable), the `count` of rows and the
    first, `listed`; `record` is that of the selector; `conflict` the cosine from which on rows conflict (as a positive
    number), None where rows cannot; `beside` what the comparison says that the selection belongs to, None without one.
    """

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    command: str
    selector: str
    record: Mapping[str, Any]
    summary: Mapping[str, Any]
    left_out: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, Any]
    rules: Rules
    conflict: float | None
    made_of: str
    usable: NDArray[np.bool_] | None = None  # (P,) which shown rows could be looked at
    walks: bool = False
    beside: Beside | None = None


def selection_data(
    shown: Shown,
    chosen: Chosen,
    targets: Sequence[TargetExample],
    pool: Whole,
    relations: Relations | None,
    drawn: Map | None,
    about: About,
) -> tuple[dict[str, Any], list[Miss]]:
    """The page's data of a selection, and the near misses. Without `relations` rows cannot be compared."""
    names = list(dict.fromkeys(example.target for example in targets))
    misses = [] if relations is None else _misses(relations, shown, chosen, names, about)
    groups, group_of = _groups(chosen, names)
    near = [] if relations is None else relations.near.ravel(order="F").tolist()
    texts = whole_texts(shown.turns, [*chosen.at.tolist(), *(miss.row for miss in misses), *near])
    is_chosen = np.zeros(len(shown), bool)
    is_chosen[chosen.at] = True
    data: dict[str, Any] = {
        "kind": "selection",
        "title": about.title,
        "subtitle": about.subtitle,
        "made_of": about.made_of,
        "facts": about.facts,
        "notes": about.notes,
        "command": about.command,
        "environment": about.environment,
        "summary": about.summary,
        "record": about.record,
        "num_pool_rows": shown.num_rows,
        "num_chosen": len(chosen.at),
        "num_selected": about.record.get("num_selected", len(chosen.at)),
        "targets": names,
        "groups": groups,
        "left_out": about.left_out,
        "refusals": refusals(
            *(about.record, about.left_out, relations, about.rules.takes_opposed, len(shown) == shown.num_rows)
        ),
        "points": _points(shown, texts),
        "examples": [
            {"id": of.id, "target": names.index(of.target), "text": beginning(of.turns), "turns": whole(of.turns)}
            for of in targets
        ],
        "chosen": _chosen(chosen, group_of),
        "misses": [vars(miss) for miss in misses],
        "sources": _shares(pool.sources, shown.sources, is_chosen),
        "categories": _shares(pool.categories, shown.categories, is_chosen),
        "lengths": {
            "tokens": lengths(pool.num_tokens, shown.num_tokens[chosen.at]),
            "answer_tokens": lengths(pool.num_answer_tokens, shown.num_answer_tokens[chosen.at]),
        },
        "map": None if drawn is None else _map(drawn),
        "relations": None if relations is None else _relations(relations, about.conflict, chosen.scored is not None),
        "beside": None if about.beside is None else _beside(about.beside),
    }
    return plain(data), misses


def _misses(relations: Relations, shown: Shown, chosen: Chosen, names: Sequence[str], about: About) -> list[Miss]:
    is_chosen = np.zeros(len(shown), bool)
    is_chosen[chosen.at] = True
    is_closed = np.zeros(len(shown), bool) if about.usable is None else ~about.usable
    last = dict.fromkeys(names, np.nan)
    for target, score in zip(chosen.columns["target"], chosen.columns["score"], strict=True):
        if target is not None:
            last[target] = np.nan if score is None else score
    return near_misses(
        *(relations, is_chosen, is_closed, chosen.at, [last[name] for name in names], shown.sources),
        *(about.rules, about.walks, chosen.scored),
    )


def _groups(chosen: Chosen, names: Sequence[str]) -> tuple[list[dict[str, Any]], list[int]]:
    """What the selection is coloured by: target and component, in the order in which they come; and that of each."""
    keys = list(zip(chosen.columns["target"], chosen.columns["component"], strict=True))
    different = list(dict.fromkeys(keys))
    several = len(names) > 1
    groups = []
    for target, component in different:
        if target is None:
            name = "included by name"
        elif component is None:
            name = target
        else:
            name = f"{target}, component {component}" if several else f"component {component}"
        groups.append({"name": name, "target": target, "component": component, "rows": keys.count((target, component))})
    return groups, [different.index(key) for key in keys]


def _beside(found: Beside) -> dict[str, Any]:
    return {**vars(found), "table": vars(found.table), "losses": vars(found.losses)}


def _points(shown: Shown, texts: Mapping[int, Any]) -> dict[str, Any]:
    sources = list(dict.fromkeys(shown.sources))
    of_source = {name: number for number, name in enumerate(sources)}
    found: dict[str, Any] = {
        "count": len(shown),
        "rows": packed(shown.rows, "i4"),
        "ids": shown.ids,
        "texts": [beginning(turns) for turns in shown.turns],
        "turns": texts,
        "sources": sources,
        "source": packed(np.array([of_source[name] for name in shown.sources], np.int64), "u2"),
        "tokens": packed(shown.num_tokens, "i4"),
        "answer_tokens": packed(shown.num_answer_tokens, "i4"),
    }
    if shown.categories is not None:
        categories = list(dict.fromkeys(shown.categories))
        of_category = {name: number for number, name in enumerate(categories)}
        found["categories"] = categories
        found["category"] = packed(np.array([of_category[name] for name in shown.categories], np.int64), "u2")
    return found


def _chosen(chosen: Chosen, group_of: Sequence[int]) -> dict[str, Any]:
    columns = chosen.columns
    found: dict[str, Any] = {
        "at": chosen.at,
        "group": group_of,
        "role": columns["role"],
        "trail": columns["trail"],
        "nearest_target": columns["nearest_target_id"],
        "numbers": [
            {"name": name, "title": title, "what": what, "values": [shortened(value) for value in columns[name]]}
            for name, (title, what) in _NUMBERS.items()
            if any(value is not None for value in columns[name])
        ],
    }
    return {name: values for name, values in found.items() if not _is_empty(values)}


def _is_empty(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(value is None for value in values) and len(values) > 0


def _shares(pool: Sequence[str] | None, shown: Sequence[str] | None, is_chosen: np.ndarray) -> list[dict[str, Any]]:
    if pool is None or shown is None:
        return []
    return shares(pool, [shown[place] for place in np.flatnonzero(is_chosen).tolist()])


def _map(drawn: Map) -> dict[str, Any]:
    together = np.concatenate([drawn.xy, drawn.target_xy])
    return {"xy": packed_places(together), "num_targets": len(drawn.target_xy), "told": drawn.told}


def _relations(found: Relations, conflict: float | None, is_scored: bool) -> dict[str, Any]:
    def pairs(places: np.ndarray, cosines: np.ndarray) -> dict[str, Any]:
        return {"width": places.shape[1], "at": packed(places, "i4"), "cosine": packed_cosines(cosines)}

    return {
        "unit": COSINE,
        "conflict": conflict,
        "target": pairs(found.target[:, None], found.target_cosine[:, None]),
        "chosen": pairs(found.chosen, found.chosen_cosine),
        "against": pairs(found.against[:, None], found.against_cosine[:, None]),
        "near": pairs(found.near, found.near_cosine),
        "conflicts": pairs(found.conflicts, found.conflict_cosine),
        "similarity": pairs(np.zeros(found.similarity.shape, np.int64), found.similarity),
        "bins": found.bins,
        "histograms": found.histograms,
        "is_worth": found.worth is not None,
        "is_scored": is_scored,
    }
